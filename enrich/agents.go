package enrich

import (
	"hash/maphash"

	"github.com/metiva-io/metiva/enrich/device"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// agentSlots bounds what a partition remembers of agents: a power of two.
const agentSlots = 1 << 10

// agents remembers what the lists say of agents that were seen lately. Few agents
// make most of the traffic, and to read one costs a third of an event. An agent is
// known by two hashes of it under seeds of this process, never by its text. It
// belongs to one goroutine.
type agents struct {
	seeds [2]maphash.Seed
	slots []agentSlot
}

// agentSlot has closed values, and no part of the agent.
type agentSlot struct {
	hashes [2]uint64
	// known: the answers are complete. A step that panicked has left none.
	known  bool
	bot    metivav1.BotClass
	device device.Description
}

func newAgents() *agents {
	return &agents{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, slots: make([]agentSlot, agentSlots)}
}

// of is the place of the agent's answers, to be filled in when they are not known.
func (a *agents) of(agent []byte) *agentSlot {
	hashes := [2]uint64{maphash.Bytes(a.seeds[0], agent), maphash.Bytes(a.seeds[1], agent)}
	slot := &a.slots[hashes[0]%agentSlots]
	if !slot.known || slot.hashes != hashes {
		*slot = agentSlot{hashes: hashes}
	}
	return slot
}
