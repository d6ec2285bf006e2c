package score

// Formula is the number of the formula below. It is stored with every score, and
// rises when the same inputs come to give other points.
const Formula = 1

// The most each part can give; together 100.
const (
	RecencyPointsMax    = 10
	DepthPointsMax      = 25
	KeyPagesPointsMax   = 30
	EngagementPointsMax = 25
	ReturningPointsMax  = 10
)

// ReturningWindowDays is how far back earlier days count.
const ReturningWindowDays = 30

// InteractionPoints is what one interaction gives.
const InteractionPoints = 3

// Inputs is what the points of a day are made from: sums over the day's visits with
// a sign of a human.
type Inputs struct {
	// HumanVisits: without one there are no points at all.
	HumanVisits uint32
	// DaysSincePrevious is to the previous day with a human visit; 0 without one.
	DaysSincePrevious uint32
	// EarlierDays is the days with a human visit among the ReturningWindowDays before.
	EarlierDays uint32
	PageViews   uint32
	// KeyPageWeight is the sum of the weights of the rules that matched, each once.
	KeyPageWeight uint32
	EngagedMs     uint64
	Interactions  uint32
}

// Points is the score by parts.
type Points struct {
	Recency, Depth, KeyPages, Engagement, Returning uint32
}

// Sum is the score, 0 to 100.
func (p Points) Sum() uint32 {
	return p.Recency + p.Depth + p.KeyPages + p.Engagement + p.Returning
}

// PointsOf gives the points of a day. More of any input never gives fewer points,
// but for DaysSincePrevious, where sooner is more.
func PointsOf(in Inputs) Points {
	if in.HumanVisits == 0 {
		return Points{}
	}
	return Points{
		Recency:    recency(in.DaysSincePrevious),
		Depth:      depth(in.PageViews),
		KeyPages:   min(KeyPagesPointsMax, in.KeyPageWeight*KeyPagesPointsMax/100),
		Engagement: uint32(min(EngagementPointsMax, engagement(in.EngagedMs)+InteractionPoints*uint64(in.Interactions))),
		Returning:  returning(in.EarlierDays),
	}
}

// recency: who came before is worth more the shorter ago that was.
func recency(days uint32) uint32 {
	switch {
	case days == 0 || days > 30:
		return 0
	case days <= 7:
		return RecencyPointsMax
	case days <= 14:
		return 7
	case days <= 21:
		return 4
	}
	return 2
}

// depthPoints is what so many page views give: the first ones say most.
var depthPoints = [...]uint32{0, 6, 11, 15, 18, 20, 21, 22, 23, 24, DepthPointsMax}

func depth(pageViews uint32) uint32 {
	return depthPoints[min(int64(pageViews), int64(len(depthPoints)-1))]
}

// engagementSteps are engaged time and what it gives; between two the points rise
// evenly, rounded down.
var engagementSteps = [...]struct{ ms, points uint64 }{
	{0, 0}, {20_000, 6}, {60_000, 14}, {180_000, 22}, {300_000, EngagementPointsMax},
}

func engagement(engagedMs uint64) uint64 {
	for i := 1; i < len(engagementSteps); i++ {
		from, to := engagementSteps[i-1], engagementSteps[i]
		if engagedMs < to.ms {
			return from.points + (to.points-from.points)*(engagedMs-from.ms)/(to.ms-from.ms)
		}
	}
	return EngagementPointsMax
}

var returningPoints = [...]uint32{0, 4, 7, 9, ReturningPointsMax}

func returning(days uint32) uint32 {
	return returningPoints[min(int64(days), int64(len(returningPoints)-1))]
}
