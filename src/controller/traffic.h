/* What the messages of a session carry, by kind, and how often the device had to wait for an answer. Counted
 * where messages are handed to the link and taken from it: packed, before the link compresses them. What is
 * on the wire, link_counters() tells. */
#pragma once

#include "wire/engine.pb-c.h"

#include <glib.h>

typedef enum {
  TRAFFIC_STATE, /* registers, mappings and the like; where memory is; begin and end of sessions and blocks */
  TRAFFIC_PUSHED,  /* contents of memory that came with a delta */
  TRAFFIC_PULLED,  /* contents of memory that was asked for, and the asking */
  TRAFFIC_KNOWN,   /* names of contents that the other side has */
  TRAFFIC_CHANGES, /* contents as a difference to what the other side has */
  TRAFFIC_FILES,   /* what the device has at paths, files' contents, changes of files */
  TRAFFIC_CALLS,   /* calls on pins, output, signals, threads */
  TRAFFIC_KINDS,
} TrafficKind;

typedef enum { TRAFFIC_OUT, TRAFFIC_IN, TRAFFIC_WAYS } TrafficWay; /* as the device sees it */

typedef struct {
  guint64 bytes[TRAFFIC_KINDS][TRAFFIC_WAYS];
  guint64 round_trips; /* answers: messages that came after one that was sent, and had not yet arrived then */
} Traffic;

typedef struct {
  Traffic now;     /* since the last traffic_begin() */
  guint early;     /* messages yet to be taken that had arrived when the last one was sent */
  gboolean asking; /* something was sent, and nothing has come since */
} TrafficMeter;

extern const char *const traffic_kind_names[TRAFFIC_KINDS];

void traffic_begin(TrafficMeter *meter);

/* An EngineObserver's arguments (link/engine.h). The message may be hostile. */
void traffic_count(TrafficMeter *meter, const Doppel__Engine__Message *message, gsize length, TrafficWay way,
                   guint waiting);

/* Bytes that were counted as one kind are of another: for who knows more of a message than its kind. */
void traffic_move(TrafficMeter *meter, TrafficWay way, TrafficKind from, TrafficKind to, guint64 bytes);

void traffic_add(Traffic *sum, const Traffic *traffic);

/* Both ways. */
static inline guint64
traffic_bytes(const Traffic *traffic, TrafficKind kind)
{
  return traffic->bytes[kind][TRAFFIC_OUT] + traffic->bytes[kind][TRAFFIC_IN];
}
