package schemas

// HeaderReplay marks a record on events.enriched that is of a replay: the event was
// enriched again, and its row, where it has one, is to be replaced. The value is the
// name of the run. It is no replay of a collector's, which is CollectedEvent.replayed.
const HeaderReplay = "replay"
