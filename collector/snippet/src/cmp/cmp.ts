// The second file: adapters of consent platforms. Loaded where one is present.
export {}
