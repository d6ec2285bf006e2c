package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// acceptedEncodings is told to a client that used another (RFC 9110, section
// 15.5.16).
const acceptedEncodings = "gzip, deflate, br, zstd"

// encoding is a content coding of a request body.
type encoding uint8

const (
	encodingNone encoding = iota
	encodingGzip
	encodingDeflate // zlib (RFC 1950), as RFC 9110 has it; a bare deflate stream is malformed
	encodingBrotli
	encodingZstd
)

// encodingOf reads Content-Encoding; false for one that is not accepted, and for
// several: a body packed twice is a bomb or a mistake.
func encodingOf(h *headers) (encoding, bool) {
	if h.contentEncodings == 0 {
		return encodingNone, true
	}
	if h.contentEncodings > 1 {
		return encodingNone, false
	}
	name := bytes.TrimSpace(h.contentEncoding)
	for _, known := range [...]struct {
		name     string
		encoding encoding
	}{
		{"gzip", encodingGzip},
		{"x-gzip", encodingGzip}, // the same, RFC 9110, section 8.4.1.3
		{"deflate", encodingDeflate},
		{"br", encodingBrotli},
		{"zstd", encodingZstd},
	} {
		if bytes.EqualFold(name, []byte(known.name)) {
			return known.encoding, true
		}
	}
	return encodingNone, false
}

var (
	errInflatedTooLarge = errors.New("collector: the decompressed body is over its limit")
	errTrailingBytes    = errors.New("collector: bytes after the compressed body")
)

// zstdWindowMax is the largest window zstd may declare on the web (RFC 9659).
const zstdWindowMax = 8 << 20

// inflater decompresses bodies up to bytesMax. As many as there are processors
// work at once, since more would only hold memory: one decoder of each kind, each
// with a window that fits bytesMax, whatever the body declares.
type inflater struct {
	bytesMax int
	free     chan *decoders // a nil one is made at its first use
	zstd     *zstd.Decoder  // keeps its own
}

// decoders are reused; between bodies they hold tables, and the window's bytes
// until the next body overwrites them.
type decoders struct {
	gzip   *gzip.Reader
	zlib   io.ReadCloser
	brotli *brotli.Reader
}

func newInflater(bytesMax int) (*inflater, error) {
	n := runtime.GOMAXPROCS(0)
	in := &inflater{bytesMax: bytesMax, free: make(chan *decoders, n)}
	for range n {
		in.free <- nil
	}
	var err error
	// The destination is the window, and its capacity ends the decompression. The
	// maximum of memory would also be one of the window that may be declared.
	in.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindowMax), zstd.WithDecoderMaxMemory(zstdWindowMax), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("making a zstd decoder: %w", err)
	}
	return in, nil
}

// inflate decompresses body into dst, which grows to bytesMax at most. It may
// change the body's bytes. errInflatedTooLarge ends it at the first byte too many.
func (in *inflater) inflate(dst, body []byte, enc encoding) ([]byte, error) {
	if cap(dst) != in.bytesMax {
		dst = make([]byte, 0, in.bytesMax)
	}
	dst = dst[:0]
	if enc == encodingZstd {
		return in.inflateZstd(dst, body)
	}
	d := <-in.free
	var kept *decoders // not one that panicked
	defer func() { in.free <- kept }()
	if d == nil {
		d = &decoders{}
	}
	dst, err := d.inflate(dst, body, enc)
	kept = d
	return dst, err
}

func (d *decoders) inflate(dst, body []byte, enc encoding) ([]byte, error) {
	src := bytes.NewReader(body)
	var r io.Reader
	var err error
	switch enc {
	case encodingGzip:
		r, err = d.resetGzip(src)
	case encodingDeflate:
		r, err = d.resetZlib(src)
	default:
		narrowWindow(body, cap(dst))
		r, err = d.resetBrotli(src)
	}
	if err != nil {
		return dst, err
	}
	if dst, err = readUpTo(dst, r); err != nil {
		return dst, err
	}
	if src.Len() > 0 {
		return dst, errTrailingBytes
	}
	return dst, nil
}

// readUpTo reads to the end of r, or to the first byte that has no room in dst.
func readUpTo(dst []byte, r io.Reader) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			var over [1]byte
			n, err := io.ReadFull(r, over[:])
			switch {
			case n > 0:
				return dst, errInflatedTooLarge
			case errors.Is(err, io.EOF):
				return dst, nil
			}
			return dst, err
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func (in *inflater) inflateZstd(dst, body []byte) ([]byte, error) {
	out, err := in.zstd.DecodeAll(body, dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(out) > in.bytesMax {
		return dst, errInflatedTooLarge
	}
	return out, err
}

func (d *decoders) resetGzip(src *bytes.Reader) (r io.Reader, err error) {
	if d.gzip == nil {
		if d.gzip, err = gzip.NewReader(src); err != nil {
			d.gzip = nil
			return nil, err
		}
		return d.gzip, nil
	}
	return d.gzip, d.gzip.Reset(src)
}

func (d *decoders) resetZlib(src *bytes.Reader) (r io.Reader, err error) {
	if d.zlib == nil {
		if d.zlib, err = zlib.NewReader(src); err != nil {
			d.zlib = nil
			return nil, err
		}
		return d.zlib, nil
	}
	return d.zlib, d.zlib.(zlib.Resetter).Reset(src, nil)
}

func (d *decoders) resetBrotli(src *bytes.Reader) (io.Reader, error) {
	if d.brotli == nil {
		d.brotli = brotli.NewReader(src)
		return d.brotli, nil
	}
	return d.brotli, d.brotli.Reset(src)
}

// narrowWindow lowers the window a Brotli stream declares (RFC 7932, section
// 9.1) to the smallest that holds bytesMax. Encoders declare 4 or 16 MiB for a
// body of any size, and the decoder allocates what a block of the stream asks
// for within it: 20 bytes would cost 16 MiB. Below the window's size, output does
// not depend on it, and more output than bytesMax is refused.
func narrowWindow(body []byte, bytesMax int) {
	const (
		gap   = 16 // a window reaches 16 bytes less than its size
		first = 17 // the four-bit codes say 17 plus one to seven
	)
	if len(body) == 0 || body[0]&1 == 0 {
		return // 16 bits
	}
	declared := body[0] >> 1 & 0b111
	if declared == 0 {
		return // a longer code, for 17 bits or less
	}
	need := max(bits.Len(uint(bytesMax+gap-1))-first, 1)
	if need < int(declared) {
		body[0] = body[0]&^0b1110 | byte(need)<<1
	}
}
