// Package clickhousetest starts a real ClickHouse engine for tests, in a child
// process: libchdb can be loaded once per process, and a test may kill it.
//
// The child is the test binary itself. A package that uses Start needs
//
//	func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }
//
// Main turns the child into the engine and runs the tests in the parent.
//
// The library is found by METIVA_TEST_LIBCHDB, or in the cache that `make
// engines` fills. A test that cannot find it fails: a skipped engine test
// would say that all is well.
package clickhousetest
