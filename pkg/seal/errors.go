package seal

import "errors"

var (
	// ErrNoKey means Prepare has not made a key for the tenant and day.
	ErrNoKey = errors.New("seal: no data key prepared")
	// ErrUnknownKey means the key that sealed the value was never seen, or is
	// not wrapped to this resolver.
	ErrUnknownKey = errors.New("seal: unknown data key")
	// ErrShredded means the key that sealed the value was destroyed.
	ErrShredded = errors.New("seal: data key destroyed")
	// ErrTampered means the value is not what was sealed for this binding.
	ErrTampered = errors.New("seal: sealed value does not belong here")
	// ErrInvalidAddress means the Address holds nothing.
	ErrInvalidAddress = errors.New("seal: no address")
	// ErrField means the binding names a field the call is not for.
	ErrField = errors.New("seal: wrong field for this kind of value")
	// ErrKeysAppear means a tenant or subject that is being destroyed keeps
	// getting new keys.
	ErrKeysAppear = errors.New("seal: new keys keep appearing while keys are destroyed")
	// ErrBinding means the binding is not whole: a form's value without its
	// subject, another value with one, or a tenant or subject the key is not for.
	ErrBinding = errors.New("seal: the binding does not fit")
)
