package visit

// SameResolution is sameResolution.
var SameResolution = sameResolution
