package collector

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// pack compresses with every encoder a client may have.
func pack(t testing.TB, encoding string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch strings.ToLower(encoding) {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "br":
		w = brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 9, LGWin: 24})
	case "zstd":
		var err error
		if w, err = zstd.NewWriter(&b, zstd.WithWindowSize(zstdWindowMax)); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("no encoder for %s", encoding)
	}
	half := len(plain) / 2
	if _, err := w.Write(plain[:half]); err != nil {
		t.Fatal(err)
	}
	// As a stream of unknown length is: with the whole window declared.
	if err := w.(interface{ Flush() error }).Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain[half:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var allEncodings = []string{"gzip", "deflate", "br", "zstd"}

func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	for _, encoding := range append(allEncodings, "GZIP", "x-gzip") {
		for range 2 { // the second with a used decoder
			plain, err := json.Marshal(e.body(newPage(e), newPage(e)))
			if err != nil {
				t.Fatal(err)
			}
			if a := e.post(string(pack(t, encoding, plain)), header("Content-Encoding", encoding)); a.status != 200 || a.outcomes() != "accepted accepted" {
				t.Errorf("%s: %d %s", encoding, a.status, a.body)
			}
		}
	}
	body := e.body(newPage(e))
	for _, encoding := range []string{"identity", "compress", "gzip, gzip", "gzip, br", "", "zstd;q=1"} {
		h := browserHeaders()
		a := e.postEncoded(t, body, h, encoding)
		if a.status != http.StatusUnsupportedMediaType || a.Reason != "unsupported_type" || a.header.Get("Accept-Encoding") != acceptedEncodings {
			t.Errorf("%q: %d %s %v", encoding, a.status, a.body, a.header)
		}
	}
	if a := e.postEncoded(t, body, browserHeaders(), "gzip", "gzip"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("two headers: %d", a.status)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 24, "/unsupported_type": 7})
}

// postEncoded sends a body that is not compressed under the encodings given.
func (e *edge) postEncoded(t *testing.T, body any, h map[string]string, encodings ...string) answered {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, e.url+PathEvents, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range h {
		req.Header.Set(name, value)
	}
	req.Header["Content-Encoding"] = encodings
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	a := answered{status: res.StatusCode, header: res.Header}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCompressedBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	bomb := bytes.Repeat([]byte{' '}, 20<<20)
	want := map[string]uint64{}
	for _, encoding := range allEncodings {
		packed := pack(t, encoding, bomb)
		if len(packed) > e.cfg.BodyBytesMax {
			t.Fatalf("the %s bomb has %d bytes", encoding, len(packed))
		}
		if a := e.post(string(packed), header("Content-Encoding", encoding)); a.status != http.StatusRequestEntityTooLarge || a.Reason != "too_large" {
			t.Errorf("%s bomb: %d %s", encoding, a.status, a.body)
		}
		want["/too_large"]++
		plain, err := json.Marshal(e.body(newPage(e)))
		if err != nil {
			t.Fatal(err)
		}
		good := pack(t, encoding, plain)
		for name, body := range map[string]string{
			"not compressed": string(plain), "empty": "", "cut": string(good[:len(good)-3]), "trailing": string(good) + "xyz",
			"damaged": string(good[:len(good)/2]) + "\x00\xff\x13" + string(good[len(good)/2+3:]),
		} {
			if encoding == "br" && name == "damaged" {
				continue // brotli has no checksum: some damage decodes
			}
			if a := e.post(body, header("Content-Encoding", encoding)); a.status != http.StatusBadRequest || a.Reason != "malformed" {
				t.Errorf("%s, %s: %d %s", encoding, name, a.status, a.body)
			}
			want["/malformed"]++
		}
	}
	if a := e.post(string(pack(t, "gzip", []byte(`[`))), header("Content-Encoding", "deflate")); a.status != http.StatusBadRequest {
		t.Errorf("gzip named deflate: %d", a.status)
	}
	want["/malformed"]++
	wantLedger(t, e.stoppedLedger(), want)
}

// The cap is exact, and the same for every encoding.
func TestInflateToTheByte(t *testing.T) {
	t.Parallel()
	const bytesMax = 64 << 10
	in, err := newInflater(bytesMax)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	plain := make([]byte, bytesMax+1)
	for i := range plain {
		plain[i] = "abcdefgh <>"[rng.IntN(11)]
	}
	copy(plain[bytesMax-4000:], plain[:4000]) // a match as far back as they get
	for name, enc := range map[string]encoding{"gzip": encodingGzip, "deflate": encodingDeflate, "br": encodingBrotli, "zstd": encodingZstd} {
		for _, n := range []int{0, 1, bytesMax - 1, bytesMax} {
			out, err := in.inflate(nil, pack(t, name, plain[:n]), enc)
			if err != nil || !bytes.Equal(out, plain[:n]) {
				t.Errorf("%s: %d bytes became %d, %v", name, n, len(out), err)
			}
		}
		out, err := in.inflate(nil, pack(t, name, plain), enc)
		if !errors.Is(err, errInflatedTooLarge) || cap(out) > bytesMax {
			t.Errorf("%s: one byte too many gave %d bytes, %v", name, len(out), err)
		}
	}
	// Many small members are one body.
	member := pack(t, "gzip", plain[:1024])
	frame := pack(t, "zstd", plain[:1024])
	for name, body := range map[string][]byte{"gzip": bytes.Repeat(member, 65), "zstd": bytes.Repeat(frame, 65)} {
		enc := encodingGzip
		if name == "zstd" {
			enc = encodingZstd
		}
		if _, err := in.inflate(nil, body, enc); !errors.Is(err, errInflatedTooLarge) {
			t.Errorf("%s of 65 parts: %v", name, err)
		}
	}
}

// A bomb costs about what an honest body costs.
func TestBombsCostNoMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	in, err := newInflater(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat([]byte{' '}, 15<<20)
	dst := make([]byte, 0, in.bytesMax)
	for name, enc := range map[string]encoding{"gzip": encodingGzip, "deflate": encodingDeflate, "br": encodingBrotli, "zstd": encodingZstd} {
		packed := pack(t, name, bomb)
		if enc == encodingBrotli && packed[0]>>1&7 < 5 {
			t.Fatalf("the br bomb declares no large window: %x", packed[0])
		}
		run := func() {
			if _, err := in.inflate(dst, bytes.Clone(packed), enc); !errors.Is(err, errInflatedTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Decoders keep their memory: the first round is what they hold.
		for _, round := range []struct {
			name     string
			bombs    int
			bytesMax uint64
		}{{"first", runtime.GOMAXPROCS(0), 1 << 20}, {"later", 20, 256 << 10}} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range round.bombs {
				run()
			}
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / uint64(round.bombs); each > round.bytesMax {
				t.Errorf("%s: %d bytes are allocated for a %s bomb of %d", name, each, round.name, len(packed))
			} else {
				t.Logf("%s: %d bytes allocated for a %s bomb of %d", name, each, round.name, len(packed))
			}
		}
	}
}

func TestBareDeflateIsMalformed(t *testing.T) {
	t.Parallel()
	in, err := newInflater(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.inflate(nil, b.Bytes(), encodingDeflate); err == nil {
		t.Error("accepted")
	}
}

func FuzzInflate(f *testing.F) {
	const bytesMax = 4 << 10
	in, err := newInflater(bytesMax)
	if err != nil {
		f.Fatal(err)
	}
	for i, name := range allEncodings {
		for _, plain := range []string{"", "{}", strings.Repeat("abc", 300), strings.Repeat(" ", 5000)} {
			f.Add(byte(i), pack(f, name, []byte(plain)))
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		enc := encoding(kind%4) + encodingGzip
		kept := bytes.Clone(body)
		out, err := in.inflate(nil, body, enc)
		if len(out) > bytesMax || cap(out) > bytesMax {
			t.Fatalf("%d bytes of %d", len(out), cap(out))
		}
		if err != nil || enc != encodingBrotli {
			return
		}
		// The narrowed window changes nothing.
		whole, err := io.ReadAll(brotli.NewReader(bytes.NewReader(kept)))
		if err != nil || !bytes.Equal(whole, out) {
			t.Fatalf("%x inflates to %q, unchanged to %q (%v)", kept, out, whole, err)
		}
	})
}
