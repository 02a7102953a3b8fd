"""The Redis layout, all of it: what each key is, holds, and how long it lives.

A name that ends in a colon is the beginning of a key, and the word in braces follows it; `{id}` is
a frame id, `camera:epoch:sequence`, `{lane}` a key of the work queue. Streams carry pointers only.

A key lives for ever, but for:

    sweep     until `slimcloud.store.retention` removes the frame (Redis' own ends go by a clock
              that may be set, and would delete all at once)
    frame     goes with its frame
    7 d, ...  so long after its last change
    done      an entry is deleted when it is done
    1,000     about the last so many entries; of gaps those of each camera

The hash of a frame holds what `slimcloud.store.records` declares: the fields of `StoredFrame`, the
bytes of its base, and what the scripts of the queue note.

Only commands of Redis 6.2 are used, so Redis 6.2-8 and Valkey serve alike. Scripts touch several
keys and name them themselves, so Redis Cluster does not.
"""

# --- frames ---
FRAME = "slim:frame:"  # {id}, sweep: hash, see above
ENHANCEMENT = "slim:enh:"  # {id}, frame: the enhancement container
DETECTIONS = "slim:detections:"  # {id}, frame: `DetectionResult` as JSON
INDEX_ALL = "slim:index:all"  # sweep: zset, id by capture (microseconds, the cloud's clock)
INDEX_CAMERA = "slim:index:camera:"  # {camera}, sweep: the same, one camera
# sweep: zset, id of an intra frame by when the newest that descends from it was stored (the
# store's clock)
INDEX_RECEIVED = "slim:index:received"
TREE = "slim:tree:"  # {id}, sweep: list, sequences of the frames that descend from an intra frame
FELLED = "slim:felled"  # sweep: set, intra frames whose trees are being removed
SIZES = "slim:sizes"  # sweep: hash, id -> bytes of base, enhancement and result
SHARES = "slim:shares"  # sweep: zset, camera by the bytes that its frames take

# --- the store ---
STORE_ID = "slim:store-id"  # names this store: another one where it was emptied
CLOCK = "slim:clock"  # hash, the store's clock: see `clock`
TOTALS = "slim:totals"  # hash, counters of `StoreTotals`

# --- cameras ---
CAMERAS = "slim:cameras"  # set, every camera ever seen
CAMERA = "slim:camera:"  # {camera}: hash of `CameraRecord`; `connection` holds it, in `ingest`
INGEST = "slim:ingest:"  # {ingest}, 15 s: lease of a process that holds connections
EPOCH = "slim:epoch:"  # {camera}:{epoch}, 7 d: highest sequence PERSISTED
EPOCHS = "slim:epochs:"  # {camera}, 64: zset, epoch by its newest frame (the store's clock)
WEIGHTS = "slim:weights"  # hash, camera -> its weight where shares are dealt; absent: 1
TOKENS = "slim:tokens"  # hash, camera -> digest of the token that an admin made; empty: taken back
BUDGET = "slim:budget:"  # {camera}: hash of `CameraBudget`
RULES = "slim:rules:"  # {camera}: hash, `rules`: `CameraRules` as JSON, and their `version`
GAP_RECORDS = "slim:gap-records"  # 1,000: hash, `GapRecord` as JSON, by `camera:epoch:number`
GAPS = "slim:gaps"  # 1,000: zset, the same names by the gap's end (microseconds)
GAPS_OF_CAMERA = "slim:gaps:"  # {camera}, 1,000: the same, one camera
PENDING_REFETCHES = (
    "slim:commands:"  # {camera}, 1 h: stream, `request_id`, `frame_id`; not told yet
)
SENT_REFETCHES = "slim:asked:"  # {camera}, 1 h: set, ids of requests that it was told, unanswered
REFETCH = "slim:refetch:"  # {request_id}, 1 h: hash of `RefetchRequest`
REFETCH_OF = "slim:refetch-of:"  # {id}, 1 h: the newest request for that frame

# --- the work queue ---
WORK = "slim:work"  # done: stream of `frame_id`; group `detect`: live
WORK_REVIEW = "slim:work:review"  # done: the same, a person asks
WORK_BACKFILL = "slim:work:backfill"  # done: the same, what a camera sent late
DETECT_GROUP = "detect"
LINE = "slim:line:"  # {lane}:{camera}, done: list, entry and id of frames that no worker has taken
TURNS = "slim:turns:"  # {lane}, done: zset, cameras that have such frames, by what they paid
# {lane}: hash, camera -> paid after its last turn; empty -> before the last turn of any
PAID = "slim:paid:"
GRANT = "slim:grant"  # hash: what a camera is granted while results are late (`library.lua`)
GRANTED = "slim:granted"  # zset, cameras that it is for, by their last result in 10 s
PLACES = "slim:places"  # counter of the places given in slim:order
ORDER = "slim:order:"  # {camera}, done: zset, id of live frames that workers hold, by place
# done: zset, id by time of the outcome (milliseconds), whose event waits for an earlier frame's
HELD = "slim:held"
AWAITING = "slim:awaiting"  # done: zset, id by deadline (microseconds): see `work_queue`
DEAD = "slim:dead"  # 1,000: stream of `frame_id`, `reason`, `deliveries`

# --- what happened ---
FEED = "slim:events"  # 10,000: stream of `kind`, `camera_id`, `frame_id`, `detail`
OUTBOX = "slim:outbox:"  # {receiver}, 1,000: stream of `Message` for a receiver outside
OUTBOX_POSITION = "slim:outbox-position"  # id of the entry of the feed that was read last for them
OUTBOX_LEASE = "slim:outbox-lease"  # 15 s: the process that reads and sends
UNDELIVERED = "slim:undelivered"  # 1,000: stream of `Message`, `receiver`, `tries`, `reason`
REVIEWS = "slim:reviews"  # 50,000: stream of `ReviewRecord`: the audit
REVIEWS_OF = "slim:reviews-of:"  # {id}, frame: the same, of one frame

# --- events ---
# {event}, kept: hash, `event` (`Event` as JSON), `reviewed` (1), `reviewer`, `bytes` of it and its
# picture; kept: until `sweep_events` in `slimcloud.store.events.event_index` removes the event
EVENT = "slim:event:"
EVENT_PICTURE = "slim:event-picture:"  # {event}, kept: list, ids and bases: its best frame last
EVENTS_ALL = "slim:event-index:all"  # kept: zset, event by its begin (microseconds)
EVENTS_OF = "slim:event-index:camera:"  # {camera}, kept: the same, one camera
EVENTS_UNTIL = "slim:event-until"  # kept: zset, event by when it goes (the store's clock)
EVENT_BYTES = "slim:event-bytes"  # of all events
EVENT_RUNNER = "slim:event-runner"  # 15 s: lease of the process that makes them
EVENT_POSITION = "slim:event-position"  # how far it has read the feed
EVENT_STATE = "slim:event-state"  # hash, `CameraEvents` (zlib) by camera, and those that are late

EPOCH_TTL_SECONDS = 7 * 24 * 3600
EPOCHS_PER_CAMERA = 64
REFETCH_TTL_SECONDS = 3600
LEASE_SECONDS = 15
MAX_DEPTH = 64  # that any cloud allows
MAX_TREE_SECONDS = 3600  # of live frames from one intra frame; it is kept as long as the last
FEED_LENGTH = 10_000
BYTES_OF_EVENT = 900  # that Redis takes beside its JSON and its picture
DEAD_LENGTH = 1_000
OUTBOX_LENGTH = 1_000
GAPS_PER_CAMERA = 1_000
REVIEWS_LENGTH = 50_000  # about 10 MB
REVIEWS_OF_FRAME_LENGTH = 500


def index_of(camera_id: str | None) -> str:
    """The time index of one camera; of all for None."""
    return INDEX_ALL if camera_id is None else f"{INDEX_CAMERA}{camera_id}"
