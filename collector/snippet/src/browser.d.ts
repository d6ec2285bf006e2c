// What browsers have and TypeScript's DOM library lacks.
interface Navigator {
  readonly globalPrivacyControl?: boolean
}
interface Document {
  readonly prerendering?: boolean
}
interface Window {
  visitor?: unknown
}
