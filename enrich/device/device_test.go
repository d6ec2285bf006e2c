package device_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/metiva-io/metiva/enrich/device"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	desktop = metivav1.DeviceClass_DEVICE_CLASS_DESKTOP
	mobile  = metivav1.DeviceClass_DEVICE_CLASS_MOBILE
	tablet  = metivav1.DeviceClass_DEVICE_CLASS_TABLET
	tv      = metivav1.DeviceClass_DEVICE_CLASS_TV
	unknown = metivav1.DeviceClass_DEVICE_CLASS_OTHER
)

func agents() map[string]device.Description {
	return map[string]device.Description{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                            {desktop, "chrome", "windows"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":              {desktop, "edge", "windows"},
		"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko":                                                                      {desktop, "explorer", "windows"},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15":                      {desktop, "safari", "macos"},
		"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0":                                                                     {desktop, "firefox", "linux"},
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                             {desktop, "chrome", "chromeos"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 OPR/123.0.0.0":              {desktop, "opera", "windows"},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1":    {mobile, "safari", "ios"},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.0.0 Mobile/15E148 Safari/604.1": {mobile, "chrome", "ios"},
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":             {tablet, "safari", "ios"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                            {mobile, "chrome", "android"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                                   {tablet, "chrome", "android"},
		"Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": {mobile, "samsung", "android"},
		"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.5359.211 Safari/537.36":                              {tv, "chrome", "other"},
		"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) 94.0.4606.31/7.0 TV Safari/537.36":                          {tv, "other", "other"},
		"curl/8.5.0": {unknown, "other", "other"},
		"":           {unknown, "other", "other"},
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for agent, want := range agents() {
		if got := device.Describe([]byte(agent)); got != want {
			t.Errorf("%q: got %v, want %v", agent, got, want)
		}
	}
}

func TestDescribeAllocatesNothing(t *testing.T) {
	agent := []byte("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
	if n := testing.AllocsPerRun(100, func() { device.Describe(agent) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDescribe: any bytes give values of the closed lists, and the agent is
// not changed.
func FuzzDescribe(f *testing.F) {
	for agent := range agents() {
		f.Add([]byte(agent))
	}
	f.Fuzz(func(t *testing.T, agent []byte) {
		before := bytes.Clone(agent)
		got := device.Describe(agent)
		if !bytes.Equal(before, agent) {
			t.Error("the agent was changed")
		}
		if got.Class == metivav1.DeviceClass_DEVICE_CLASS_UNSPECIFIED ||
			!slices.Contains(device.Browsers(), got.Browser) || !slices.Contains(device.Systems(), got.System) {
			t.Errorf("outside the lists: %v", got)
		}
	})
}

func BenchmarkDescribe(b *testing.B) {
	agent := []byte("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	b.ReportAllocs()
	for b.Loop() {
		device.Describe(agent)
	}
}
