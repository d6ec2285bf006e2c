// The globals by which a consent platform is known, for the core: it loads the
// second file (cmp.js) once one of them is there, or at once where the tag has
// data-cmp. Consent Mode is not among them: it grants nothing, so on a page
// without a platform there is nothing it could lower.
//
// A platform may load after us, so the core looks more than once: at the start, at
// the load event and a few times after. It never looks without end.
const platforms = 'Cookiebot OneTrust getCkyConsent complianz wp_has_consent Didomi UC_UI __ucCmp klaro CookieConsent __tcfapi'

export const cmpPresent = (): boolean => platforms.split(' ').some((name) => name in window)
