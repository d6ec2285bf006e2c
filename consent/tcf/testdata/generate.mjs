// Writes vectors.json: TC strings made by npm @iabtcf/core 1.5.6 (Apache-2.0)
// and what that library reads out of them. The tests of package tcf compare our
// decoder with it. Only this generator uses the library. From an empty folder:
//
//   npm install @iabtcf/core@1.5.6
//   cp <package tcf>/testdata/generate.mjs .
//   node generate.mjs > <package tcf>/testdata/vectors.json
//
// It is deterministic: dates and random choices are fixed here.
import {createRequire} from 'node:module';

const {GVL, TCModel, TCString, PurposeRestriction, SegmentEncoder} = createRequire(import.meta.url)('@iabtcf/core');

const golden = 'COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw';

// mulberry32, so that a run repeats.
let seed = 20261122;
function random() {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const upTo = (n) => Math.floor(random() * n);
const range = (from, to, step = 1) => Array.from({length: Math.floor((to - from) / step) + 1}, (_, i) => from + i * step);
const some = (from, to, share) => range(from, to).filter(() => random() < share);

// list is a made-up vendor list in the form of the framework's.
function list(vendorIds, policyVersion, version = 142) {
  const purposes = {};
  for (const id of range(1, 11)) purposes[id] = {id, name: `purpose ${id}`, description: '', illustrations: []};
  const specialFeatures = {};
  for (const id of range(1, 2)) specialFeatures[id] = {id, name: `feature ${id}`, description: '', illustrations: []};
  const vendors = {};
  for (const id of vendorIds) {
    vendors[id] = {
      id, name: `vendor ${id}`, purposes: [1, 3, 8, 9], legIntPurposes: [2, 7, 8, 9, 10], flexiblePurposes: [2, 7, 8, 9, 10],
      specialPurposes: [1], features: [], specialFeatures: [], policyUrl: 'https://example.org/', overflow: {httpGetLimit: 128},
    };
  }
  return {
    gvlSpecificationVersion: 3, vendorListVersion: version, tcfPolicyVersion: policyVersion, lastUpdated: '2026-10-01T16:00:00Z',
    purposes, specialPurposes: {1: {id: 1, name: 'special 1', description: '', illustrations: []}}, features: {}, specialFeatures, vendors, stacks: {}, dataCategories: {},
  };
}

const day = (text) => new Date(`${text}T00:00:00Z`);

function model(o) {
  const m = new TCModel(new GVL(list(o.listed ?? range(1, Math.max(10, ...o.vendors ?? [], ...o.vendorsLI ?? [])), o.policy ?? 5)));
  m.cmpId = o.cmpId ?? 300;
  m.cmpVersion = o.cmpVersion ?? 7;
  m.consentScreen = o.screen ?? 1;
  m.publisherCountryCode = o.country ?? 'NL';
  m.isServiceSpecific = o.serviceSpecific ?? true;
  m.useNonStandardStacks = o.nonStandard ?? false;
  m.purposeOneTreatment = o.purposeOneTreatment ?? false;
  m.purposeConsents.set(o.purposes ?? [1, 8, 9]);
  m.purposeLegitimateInterests.set(o.purposesLI ?? []);
  m.specialFeatureOptins.set(o.features ?? []);
  m.vendorConsents.set(o.vendors ?? [2]);
  m.vendorLegitimateInterests.set(o.vendorsLI ?? []);
  m.created = o.created ?? day('2026-09-01');
  m.lastUpdated = o.updated ?? day('2026-10-15');
  for (const [purpose, type, vendor] of o.restrictions ?? []) m.publisherRestrictions.add(vendor, new PurposeRestriction(purpose, type));
  for (const [purpose, type] of o.restrictAll ?? []) m.publisherRestrictions.restrictPurposeToLegalBasis(new PurposeRestriction(purpose, type));
  return m;
}

function encode(o) {
  const segments = o.segments ?? ['core', 'vendorsDisclosed'];
  if (!o.disclosed) return TCString.encode(model(o), {segments});
  // The library lists every vendor of its list as disclosed; to leave one out
  // the segment is made from a model of its own.
  const shown = model(o);
  shown.vendorsDisclosed.set(o.disclosed);
  return `${TCString.encode(model(o), {segments: ['core']})}.${SegmentEncoder.encode(shown, 'vendorsDisclosed')}`;
}

const ids = (vector) => {
  const out = [];
  vector.forEach((on, id) => { if (on) out.push(id); });
  return out;
};

// spans packs sorted ids as [first, last] pairs, to keep the file small.
function spans(sorted) {
  const out = [];
  for (const id of sorted) {
    const open = out.at(-1);
    if (open && open[1] === id - 1) open[1] = id;
    else out.push([id, id]);
  }
  return out;
}

// read is what the library decodes.
function read(text) {
  const m = TCString.decode(text);
  const disclosed = text.split('.').slice(1).some((s) => 'IJKLMNOP'.includes(s[0]));
  return {
    created_ms: m.created.getTime(), updated_ms: m.lastUpdated.getTime(),
    cmp_id: m.cmpId, cmp_version: m.cmpVersion, consent_screen: m.consentScreen, language: m.consentLanguage,
    list_version: m.vendorListVersion, policy_version: m.policyVersion, service_specific: m.isServiceSpecific,
    non_standard: m.useNonStandardStacks, special_features: ids(m.specialFeatureOptins),
    purposes: ids(m.purposeConsents), purposes_li: ids(m.purposeLegitimateInterests),
    purpose_one_treatment: m.purposeOneTreatment, country: m.publisherCountryCode,
    vendors: spans(ids(m.vendorConsents)), vendors_li: spans(ids(m.vendorLegitimateInterests)),
    disclosure: disclosed, disclosed: spans(ids(m.vendorsDisclosed)),
    restrictions: m.publisherRestrictions.getRestrictions().map((r) => ({
      purpose: r.purposeId, type: r.restrictionType, vendors: spans(m.publisherRestrictions.getVendors(r).slice().sort((a, b) => a - b)),
    })),
  };
}

const out = [];
// asks are vendors with the expected answer to the question of analytics: "" or the
// name of the error; they are our rules, not the library's.
function add(name, o, asks) {
  const text = o.text ?? encode(o);
  out.push({name, text, asks, want: read(text)});
}

add('golden of the specification', {text: golden}, {2: 'ErrPolicyVersion', 6: 'ErrPolicyVersion'});

// Rules, one by one.
add('grant through purpose 8', {purposes: [1, 8]}, {2: '', 3: 'ErrVendorConsent'});
add('grant through purpose 9', {purposes: [1, 9]}, {2: ''});
add('grant through both', {purposes: [1, 8, 9]}, {2: '', 0: 'ErrVendorRequired', 16383: 'ErrVendorConsent'});
add('all purposes', {purposes: range(1, 11), purposesLI: range(2, 11), features: [1, 2]}, {2: ''});
add('no purpose 1', {purposes: [8, 9]}, {2: 'ErrPurposes'});
add('only purpose 1', {purposes: [1]}, {2: 'ErrPurposes'});
add('neighbouring purposes', {purposes: [1, 2, 7, 10, 11]}, {2: 'ErrPurposes'});
add('refused', {purposes: [], vendors: []}, {2: 'ErrPurposes'});
add('legitimate interest for 8 and 9', {purposes: [1], purposesLI: [8, 9], vendorsLI: [2]}, {2: 'ErrPurposes'});
add('legitimate interest for the vendor', {vendors: [3], vendorsLI: [2]}, {2: 'ErrVendorConsent', 3: ''});
add('purpose 1 not disclosed', {purposeOneTreatment: true}, {2: 'ErrPurposes'});
add('purpose 1 not disclosed and not given', {purposeOneTreatment: true, purposes: [8, 9]}, {2: 'ErrPurposes'});
add('global scope', {serviceSpecific: false}, {2: 'ErrGlobalScope'});
for (const policy of [0, 1, 2, 3]) add(`policy ${policy}`, {policy}, {2: 'ErrPolicyVersion'});
for (const policy of [4, 5, 6, 63]) add(`policy ${policy}`, {policy}, {2: ''});
add('stale', {created: day('2025-01-01'), updated: day('2025-10-21')}, {2: 'ErrStale'});
add('stale by years', {created: day('2020-01-01'), updated: day('2020-01-01')}, {2: 'ErrStale'});
add('oldest that counts', {created: day('2020-01-01'), updated: day('2025-10-23')}, {2: ''});
add('a day ahead', {updated: day('2026-11-23')}, {2: ''});
add('two days ahead', {updated: day('2026-11-24')}, {2: 'ErrFuture'});
add('far ahead', {updated: new Date((2 ** 36 - 1) * 100)}, {2: 'ErrFuture'});
add('updated before created', {created: day('2026-10-16')}, {2: 'ErrDates'});
add('tenths of a second', {created: new Date(1788220800100), updated: new Date(1788220800900)}, {2: ''});

// Disclosed vendors.
add('2.2 before the duty', {segments: ['core'], created: day('2026-02-28'), updated: day('2026-02-28')}, {2: ''});
add('2.2 after the duty', {segments: ['core'], created: day('2026-02-28'), updated: day('2026-03-01')}, {2: 'ErrNotDisclosed'});
add('disclosed to others, before the duty', {disclosed: [1, 3], created: day('2026-01-10'), updated: day('2026-01-10')}, {2: 'ErrNotDisclosed'});
add('disclosed to others', {disclosed: [1, 3], vendors: [2, 3]}, {2: 'ErrNotDisclosed', 3: ''});
add('disclosed as ranges', {disclosed: [...range(1, 300), ...range(500, 900)], vendors: [300, 301, 499, 500]}, {300: '', 301: 'ErrNotDisclosed', 499: 'ErrNotDisclosed', 500: ''});
add('all segments', {segments: ['core', 'vendorsDisclosed', 'vendorsAllowed', 'publisherTC']}, {2: ''});
add('disclosed last', {segments: ['core', 'publisherTC', 'vendorsDisclosed']}, {2: ''});
add('publisher segment alone', {segments: ['core', 'publisherTC']}, {2: 'ErrNotDisclosed'});

// Encodings of the vendor sections.
add('no vendor', {vendors: []}, {1: 'ErrVendorConsent'});
add('vendor 1', {vendors: [1]}, {1: '', 2: 'ErrVendorConsent'});
for (const last of [6, 7, 8, 24, 46, 47, 48, 64]) add(`last vendor ${last}`, {vendors: [last]}, {[last]: '', [last - 1]: 'ErrVendorConsent', [last + 1]: 'ErrVendorConsent'});
add('one far vendor', {vendors: [1400], vendorsLI: [1399]}, {1400: '', 1399: 'ErrVendorConsent'});
add('two far vendors', {vendors: [900, 1400]}, {900: '', 1400: '', 901: 'ErrVendorConsent'});
add('one range', {vendors: range(200, 1200)}, {199: 'ErrVendorConsent', 200: '', 700: '', 1200: '', 1201: 'ErrVendorConsent'});
add('three ranges', {vendors: [...range(1, 90), ...range(300, 301), ...range(1000, 1300)]}, {90: '', 91: 'ErrVendorConsent', 300: '', 302: 'ErrVendorConsent', 1300: ''});
add('ranges and single ids', {vendors: [5, ...range(100, 400), 600, 601, 1500]}, {5: '', 6: 'ErrVendorConsent', 600: '', 1500: ''});
add('every second', {vendors: range(1, 1201, 2), vendorsLI: range(2, 1200, 2)}, {1: '', 2: 'ErrVendorConsent', 1201: ''});
add('all of 1500', {vendors: range(1, 1500), vendorsLI: range(1, 1500), purposes: range(1, 11), purposesLI: range(2, 11)}, {1: '', 1500: ''});
add('sparse list', {listed: range(10, 1490, 10), vendors: range(10, 1490, 10)}, {10: '', 11: 'ErrVendorConsent', 1490: ''});
add('highest vendor', {listed: [1, 16383], vendors: [16383]}, {16383: '', 16382: 'ErrVendorConsent'});

// Publisher restrictions.
add('purpose 8 not allowed', {restrictions: [[8, 0, 2]]}, {2: ''});
add('purposes 8 and 9 not allowed', {restrictions: [[8, 0, 2], [9, 0, 2]]}, {2: 'ErrRestricted'});
add('purpose 8 not allowed, 9 not given', {purposes: [1, 8], restrictions: [[8, 0, 2]]}, {2: 'ErrRestricted'});
add('purpose 1 not allowed', {restrictions: [[1, 0, 2]]}, {2: 'ErrRestricted'});
add('not allowed to another', {vendors: [2, 3], restrictions: [[1, 0, 3], [8, 0, 3], [9, 0, 3]]}, {2: '', 3: 'ErrRestricted'});
add('consent required', {restrictions: [[8, 1, 2], [9, 1, 2]]}, {2: ''});
add('legitimate interest required', {restrictions: [[8, 2, 2], [9, 2, 2]]}, {2: 'ErrRestricted'});
add('legitimate interest required for all', {vendors: range(1, 40), restrictAll: [[8, 2], [9, 2]]}, {1: 'ErrRestricted', 20: 'ErrRestricted', 40: 'ErrRestricted'});
add('consent required for all', {vendors: range(1, 700), restrictAll: [[8, 1], [9, 1], [2, 1], [7, 1]]}, {1: '', 700: ''});
add('restriction of ranges', {vendors: range(1, 120), restrictions: [...range(10, 60).map((v) => [8, 0, v]), ...range(50, 90).map((v) => [9, 0, v]), [1, 0, 100]]},
  {9: '', 10: '', 50: 'ErrRestricted', 60: 'ErrRestricted', 61: '', 100: 'ErrRestricted', 101: ''});
add('other purposes not allowed', {restrictions: [[2, 0, 2], [3, 0, 2], [10, 0, 2]]}, {2: ''});

// Metadata at its bounds.
add('largest numbers', {cmpId: 4095, cmpVersion: 4095, screen: 63, country: 'ZZ', nonStandard: true, features: [1, 2]}, {2: ''});
add('smallest numbers', {cmpId: 2, cmpVersion: 0, screen: 0, country: 'AA'}, {2: ''});

// Anything together; answers are compared field by field only.
for (let i = 1; i <= 24; i++) {
  const last = 20 + upTo(1400);
  const vendors = some(1, last, random());
  add(`mixed ${i}`, {
    listed: range(1, last), vendors, vendorsLI: some(1, last, random()), policy: upTo(7), cmpId: 2 + upTo(4000), cmpVersion: upTo(4096),
    screen: upTo(64), purposes: some(1, 11, random()), purposesLI: some(2, 11, random()), features: some(1, 2, 0.5),
    serviceSpecific: random() < 0.8, nonStandard: random() < 0.3, purposeOneTreatment: random() < 0.2,
    updated: new Date(day('2026-10-15').getTime() + upTo(864000) * 100),
    restrictions: some(1, Math.min(last, 200), 0.3).map((v) => [[2, 7, 8, 9, 10][upTo(5)], upTo(3), v]),
    segments: [['core'], ['core', 'vendorsDisclosed'], ['core', 'publisherTC', 'vendorsDisclosed']][upTo(3)],
  }, {});
}

process.stdout.write('[\n' + out.map((v) => ' ' + JSON.stringify(v)).join(',\n') + '\n]\n');
