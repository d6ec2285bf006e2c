package seal

// veiled keeps a value behind two pointers. Neither fmt nor a reflecting
// encoder follows an unexported field that far: fmt's %w and %p skip Format,
// and a verb it does not know follows one pointer.
type veiled[T any] struct{ outer *veil[T] }

type veil[T any] struct{ inner *T }

func veilOf[T any](v T) veiled[T] { return veiled[T]{outer: &veil[T]{inner: &v}} }

// get is the value, or nil for the zero veiled.
func (v veiled[T]) get() *T {
	if v.outer == nil {
		return nil
	}
	return v.outer.inner
}
