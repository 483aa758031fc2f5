#include "controller/traffic.h"

#include "mirror/page_key.h"
#include "mirror/tracker.h"

enum { PAGE = 4096 };

const char *const traffic_kind_names[TRAFFIC_KINDS] = {"state",   "pushed", "pulled", "known",
                                                       "changes", "files",  "calls"};

static TrafficKind
kind_of(const Doppel__Engine__Message *message)
{
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_HELLO:
  case DOPPEL__ENGINE__MESSAGE__KIND_PREPARE:
  case DOPPEL__ENGINE__MESSAGE__KIND_START:
  case DOPPEL__ENGINE__MESSAGE__KIND_STARTED:
  case DOPPEL__ENGINE__MESSAGE__KIND_FAILURE:
  case DOPPEL__ENGINE__MESSAGE__KIND_DELTA:
  case DOPPEL__ENGINE__MESSAGE__KIND_BLOCK:
  case DOPPEL__ENGINE__MESSAGE__KIND_BLOCK_END:
  case DOPPEL__ENGINE__MESSAGE__KIND_COMMIT:
  case DOPPEL__ENGINE__MESSAGE__KIND_DROP:
  case DOPPEL__ENGINE__MESSAGE__KIND_BYE:
    return TRAFFIC_STATE;
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_PATHS:
  case DOPPEL__ENGINE__MESSAGE__KIND_PATHS:
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_DIRECTORY:
  case DOPPEL__ENGINE__MESSAGE__KIND_DIRECTORY:
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_CONTENT:
  case DOPPEL__ENGINE__MESSAGE__KIND_CONTENT:
  case DOPPEL__ENGINE__MESSAGE__KIND_FILE_PIECE:
    return TRAFFIC_FILES;
  case DOPPEL__ENGINE__MESSAGE__KIND_PULL:
  case DOPPEL__ENGINE__MESSAGE__KIND_PAGES:
    return TRAFFIC_PULLED;
  default:
    return TRAFFIC_CALLS;
  }
}

static TrafficKind
kind_of_run(const Doppel__Engine__Run *run)
{
  switch (run->kind) {
  case MIRROR_RUN_CHANGES:
    return TRAFFIC_CHANGES;
  case MIRROR_RUN_KNOWN:
    return TRAFFIC_KNOWN;
  default:
    return TRAFFIC_PUSHED;
  }
}

/* What the run's contents take of the piece, at most `left`. */
static guint64
bytes_of_run(const Doppel__Engine__Run *run, guint64 left)
{
  switch (run->kind) {
  case MIRROR_RUN_CHANGES:
    return MIN(run->changes, left);
  case MIRROR_RUN_KNOWN:
    return MIN(run->pages, left / PAGE_KEY_SIZE) * PAGE_KEY_SIZE;
  case MIRROR_RUN_DATA:
  case MIRROR_RUN_HELD:
    return MIN(run->pages, left / PAGE) * PAGE;
  default:
    return 0;
  }
}

void
traffic_begin(TrafficMeter *meter)
{
  *meter = (TrafficMeter){0};
}

void
traffic_move(TrafficMeter *meter, TrafficWay way, TrafficKind from, TrafficKind to, guint64 bytes)
{
  guint64 *source = &meter->now.bytes[from][way];
  guint64 moved = MIN(bytes, *source);
  *source -= moved;
  meter->now.bytes[to][way] += moved;
}

/* The runs may call for more than the piece has. */
static void
split_delta(TrafficMeter *meter, const Doppel__Engine__DeltaPiece *piece, TrafficWay way)
{
  guint64 left = piece->has_data ? piece->data.len : 0;
  for (gsize i = 0; i < piece->n_run && left; i++) {
    guint64 bytes = bytes_of_run(piece->run[i], left);
    traffic_move(meter, way, TRAFFIC_STATE, kind_of_run(piece->run[i]), bytes);
    left -= bytes;
  }
}

static void
split_told(TrafficMeter *meter, Doppel__Engine__Told *const *told, gsize count, TrafficWay way)
{
  for (gsize i = 0; i < count; i++)
    traffic_move(meter, way, TRAFFIC_STATE, TRAFFIC_FILES, doppel__engine__told__get_packed_size(told[i]));
}

static void
split_end(TrafficMeter *meter, const Doppel__Engine__BlockEnd *end, TrafficWay way)
{
  for (gsize i = 0; i < end->n_output; i++)
    traffic_move(meter, way, TRAFFIC_STATE, TRAFFIC_CALLS,
                 doppel__engine__output__get_packed_size(end->output[i]));
}

static void
note_turn(TrafficMeter *meter, TrafficWay way, guint waiting)
{
  if (way == TRAFFIC_OUT) {
    meter->asking = TRUE;
    meter->early = waiting;
  } else if (meter->early) {
    meter->early--;
  } else if (meter->asking) {
    meter->asking = FALSE;
    meter->now.round_trips++;
  }
}

void
traffic_count(TrafficMeter *meter, const Doppel__Engine__Message *message, gsize length, TrafficWay way,
              guint waiting)
{
  note_turn(meter, way, waiting);
  meter->now.bytes[kind_of(message)][way] += length;
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_DELTA:
    split_delta(meter, message->delta, way);
    break;
  case DOPPEL__ENGINE__MESSAGE__KIND_START:
    split_told(meter, message->start->told, message->start->n_told, way);
    break;
  case DOPPEL__ENGINE__MESSAGE__KIND_BLOCK:
    split_told(meter, message->block->stale, message->block->n_stale, way);
    break;
  case DOPPEL__ENGINE__MESSAGE__KIND_BLOCK_END:
    split_end(meter, message->block_end, way);
    break;
  default:
    break;
  }
}

void
traffic_add(Traffic *sum, const Traffic *traffic)
{
  for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
    for (TrafficWay way = 0; way < TRAFFIC_WAYS; way++)
      sum->bytes[kind][way] += traffic->bytes[kind][way];
  sum->round_trips += traffic->round_trips;
}
