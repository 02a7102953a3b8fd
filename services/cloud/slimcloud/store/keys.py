"""The Redis layout, all of it. Streams carry pointers only.

`{id}` is a frame id, `camera:epoch:sequence`.

    key                          type    lives   holds
    slim:frame:{id}              hash    sweep   a frame, see below
    slim:enh:{id}                string  frame   the enhancement container
    slim:detections:{id}         string  frame   `DetectionResult` as JSON
    slim:index:all               zset    sweep   id by capture (microseconds, cloud's clock)
    slim:index:camera:{camera}   zset    sweep   the same, one camera
    slim:index:received          zset    sweep   id by time of storing (the store's clock)
    slim:clock                   hash    ever    the store's clock: see `clock`
    slim:sizes                   hash    sweep   id -> bytes of base and enhancement
    slim:shares                  zset    sweep   camera by the bytes that its frames take
    slim:store-id                string  ever    names this store: another one where it was emptied
    slim:totals                  hash    ever    counters of `StoreTotals`
    slim:epoch:{camera}:{epoch}  string  7 d     highest sequence PERSISTED
    slim:epochs:{camera}         zset    64      epoch by its newest frame (the store's clock)
    slim:cameras                 set     ever    every camera ever seen
    slim:camera:{camera}         hash    ever    fields of `CameraRecord`; `connection` holds it,
                                                 in the process `ingest`
    slim:ingest:{ingest}         string  15 s    lease of a process that holds connections
    slim:work                    stream  done    `frame_id`; group `detect`: live
    slim:work:review             stream  done    the same: a person asks
    slim:work:backfill           stream  done    the same: what a camera sent late
    slim:line:{lane}:{camera}    list    done    entry and id of a camera's frames that no worker
                                                 has taken
    slim:turns:{lane}            zset    done    cameras that have such frames, by what they paid
    slim:paid:{lane}             hash    ever    camera -> paid after its last turn; empty: before
                                                 the last turn of any
    slim:places                  string  ever    counter of the places given in slim:order
    slim:order:{camera}          zset    done    id of live frames that workers hold, by place
    slim:held                    zset    done    id by time of the outcome (milliseconds), whose
                                                 event waits for that of an earlier frame
    slim:awaiting                zset    done    id by deadline (microseconds): see `work_queue`
    slim:dead                    stream  1,000   `frame_id`, `reason`, `deliveries`
    slim:events                  stream  10,000  `kind`, `camera_id`, `frame_id`, `detail`
    slim:commands:{camera}       stream  1 h     `request_id`, `frame_id`; not yet told
    slim:asked:{camera}          set     1 h     ids of requests that it was told, unanswered
    slim:refetch:{request_id}    hash    1 h     the fields of `RefetchRequest`
    slim:refetch-of:{id}         string  1 h     the newest request for that frame
    slim:reviews                 stream  50,000  the fields of `ReviewRecord`: the audit
    slim:reviews-of:{id}         stream  frame   the same, of one frame
    slim:gap-records             hash    1,000   `GapRecord` as JSON, by `camera:epoch:number`
    slim:gaps                    zset    1,000   the same names by the gap's end (microseconds)
    slim:gaps:{camera}           zset    1,000   the same, one camera
    slim:budget:{camera}         hash    ever    the fields of `CameraBudget`

Lives: `sweep`: until `slimcloud.store.retention` removes the frame (Redis' own ends go by a clock
that may be set, and would delete all at once); `frame`: goes with its frame;
`7 d`, `1 h`, `15 s`: after its last change; `done`: an entry is deleted when it is done;
`1,000`, `64`: about the last so many entries, of gaps those of each camera.

The hash of a frame holds what `slimcloud.store.records` declares: the fields of `StoredFrame`, the
bytes of its base, and what the scripts of the queue note.

Only commands of Redis 6.2 are used, so Redis 6.2-8 and Valkey serve alike. Scripts touch several
keys and name them themselves, so Redis Cluster does not.
"""

EPOCH_TTL_SECONDS = 7 * 24 * 3600
EPOCHS_PER_CAMERA = 64
REFETCH_TTL_SECONDS = 3600
LEASE_SECONDS = 15
EVENTS_LENGTH = 10_000
DEAD_LENGTH = 1_000
GAPS_PER_CAMERA = 1_000
REVIEWS_LENGTH = 50_000  # about 10 MB
REVIEWS_OF_FRAME_LENGTH = 500

# A name that ends in a colon is the beginning of a key, before the `{...}` of the table above.
FRAME = "slim:frame:"
ENHANCEMENT = "slim:enh:"
DETECTIONS = "slim:detections:"
INDEX_ALL = "slim:index:all"
INDEX_CAMERA = "slim:index:camera:"
INDEX_RECEIVED = "slim:index:received"
CLOCK = "slim:clock"
SIZES = "slim:sizes"
SHARES = "slim:shares"
STORE_ID = "slim:store-id"
TOTALS = "slim:totals"
EPOCH = "slim:epoch:"
EPOCHS = "slim:epochs:"
CAMERAS = "slim:cameras"
CAMERA = "slim:camera:"
INGEST = "slim:ingest:"
WORK = "slim:work"
WORK_REVIEW = "slim:work:review"
WORK_BACKFILL = "slim:work:backfill"
DETECT_GROUP = "detect"
LINE = "slim:line:"
TURNS = "slim:turns:"
PAID = "slim:paid:"
PLACES = "slim:places"
ORDER = "slim:order:"
HELD = "slim:held"
AWAITING = "slim:awaiting"
DEAD = "slim:dead"
EVENTS = "slim:events"
PENDING_REFETCHES = "slim:commands:"
SENT_REFETCHES = "slim:asked:"
REFETCH = "slim:refetch:"
REFETCH_OF = "slim:refetch-of:"
REVIEWS = "slim:reviews"
REVIEWS_OF = "slim:reviews-of:"
GAP_RECORDS = "slim:gap-records"
GAPS = "slim:gaps"
GAPS_OF_CAMERA = "slim:gaps:"
BUDGET = "slim:budget:"


def index_of(camera_id: str | None) -> str:
    """The time index of one camera; of all for None."""
    return INDEX_ALL if camera_id is None else f"{INDEX_CAMERA}{camera_id}"
