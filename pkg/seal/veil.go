package seal

// veiled keeps a value behind two pointers. Neither fmt nor a reflecting
// encoder follows an unexported field that far: fmt's %w and %p skip Format,
// and a verb it does not know follows one pointer.
type veiled[T any] struct{ outer *veil[T] }

type veil[T any] struct{ inner *T }

// veilOf puts the value and the pointer to it into one allocation.
func veilOf[T any](v T) veiled[T] {
	held := &struct {
		veil  veil[T]
		value T
	}{value: v}
	held.veil.inner = &held.value
	return veiled[T]{outer: &held.veil}
}

// get is the value, or nil for the zero veiled.
func (v veiled[T]) get() *T {
	if v.outer == nil {
		return nil
	}
	return v.outer.inner
}
