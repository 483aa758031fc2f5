/* Steps as protobuf messages, and the checks that a step from the other side passes before it is believed. */
#include <string.h>

#include "base/error.h"
#include "replica/generation.h"
#include "replica/message.h"
#include "replica/path.h"
#include "wire/generation.pb-c.h"

typedef Doppel__Wire__GenerationStep StepMessage;
typedef Doppel__Wire__GenerationSegment SegmentMessage;

GenerationStep *
generation_step_new(GenerationKind kind)
{
  GenerationStep *step = g_new0(GenerationStep, 1);
  step->kind = kind;
  return step;
}

void
generation_step_free(GenerationStep *step)
{
  if (!step)
    return;
  g_free(step->path);
  g_free(step->to);
  replica_facts_clear(&step->facts);
  g_clear_pointer(&step->sources, g_ptr_array_unref);
  g_clear_pointer(&step->segments, g_array_unref);
  g_clear_pointer(&step->data, g_bytes_unref);
  g_free(step);
}

/* What the other side can set; the rest of the facts is this machine's own business, or follows. */
static void
facts_to_message(const ReplicaFacts *facts, gboolean sized, Doppel__Wire__ReplicaFacts *message)
{
  replica_facts_to_message(facts, message);
  message->nlink = 0;
  message->pseudo = FALSE;
  message->hash = (ProtobufCBinaryData){0};
  if (!sized)
    message->size = 0;
}

static GBytes *
pack_place(StepMessage *message, const GenerationStep *step)
{
  Doppel__Wire__ReplicaFacts facts;
  Doppel__Wire__GenerationPlace place = DOPPEL__WIRE__GENERATION_PLACE__INIT;
  facts_to_message(&step->facts, FALSE, &facts);
  place.path = replica_path_to_message(step->path);
  place.facts = &facts;
  message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_PLACE;
  message->place = &place;
  return replica_message_pack(&message->base);
}

/* An OPEN's message, and what it points at. */
typedef struct {
  Doppel__Wire__GenerationOpen message;
  Doppel__Wire__ReplicaFacts facts;
  ProtobufCBinaryData sources[GENERATION_SOURCES_MAX];
} OpenMessage;

static void
open_to_message(const GenerationStep *step, OpenMessage *open)
{
  Doppel__Wire__GenerationOpen *message = &open->message;
  doppel__wire__generation_open__init(message);
  facts_to_message(&step->facts, TRUE, &open->facts);
  message->path = replica_path_to_message(step->path);
  message->facts = &open->facts;
  message->source = open->sources;
  for (; step->sources && message->n_source < step->sources->len; message->n_source++)
    open->sources[message->n_source] = replica_path_to_message(step->sources->pdata[message->n_source]);
}

static GBytes *
pack_open(StepMessage *message, const GenerationStep *step)
{
  OpenMessage open;
  open_to_message(step, &open);
  message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_OPEN;
  message->open = &open.message;
  return replica_message_pack(&message->base);
}

static GBytes *
pack_take(StepMessage *message, const GenerationStep *step)
{
  Doppel__Wire__ReplicaFacts facts;
  Doppel__Wire__GenerationTake take = DOPPEL__WIRE__GENERATION_TAKE__INIT;
  facts_to_message(&step->facts, TRUE, &facts);
  take.path = replica_path_to_message(step->path);
  take.facts = &facts;
  take.hash = (ProtobufCBinaryData){.data = (guint8 *)step->hash, .len = sizeof step->hash};
  take.salt = (ProtobufCBinaryData){.data = (guint8 *)step->salt, .len = sizeof step->salt};
  take.proof = (ProtobufCBinaryData){.data = (guint8 *)step->proof, .len = sizeof step->proof};
  message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_TAKE;
  message->take = &take;
  return replica_message_pack(&message->base);
}

static void
segment_to_message(const GenerationSegment *segment, SegmentMessage *message,
                   Doppel__Wire__GenerationCopy *copy)
{
  doppel__wire__generation_segment__init(message);
  switch (segment->kind) {
  case GENERATION_LITERAL:
    message->kind_case = DOPPEL__WIRE__GENERATION_SEGMENT__KIND_LITERAL;
    message->literal = (ProtobufCBinaryData){.data = (guint8 *)segment->bytes, .len = segment->length};
    break;
  case GENERATION_COPY:
    doppel__wire__generation_copy__init(copy);
    copy->source = segment->source;
    copy->offset = segment->offset;
    copy->length = segment->length;
    message->kind_case = DOPPEL__WIRE__GENERATION_SEGMENT__KIND_COPY;
    message->copy = copy;
    break;
  case GENERATION_ZEROS:
    message->kind_case = DOPPEL__WIRE__GENERATION_SEGMENT__KIND_ZEROS;
    message->zeros = segment->length;
    break;
  }
}

/* One segment as a message, and what it points at. */
typedef struct {
  SegmentMessage message;
  Doppel__Wire__GenerationCopy copy;
} SegmentRoom;

/* Packs a step whose `all` has room for its segments; most have one. */
static GBytes *
pack_with_segments(StepMessage *message, const GenerationStep *step, Doppel__Wire__GenerationSegments *all)
{
  guint count = step->segments ? step->segments->len : 0;
  SegmentRoom one;
  SegmentMessage *pointer;
  g_autofree SegmentRoom *many = count > 1 ? g_new(SegmentRoom, count) : NULL;
  g_autofree SegmentMessage **pointers = count > 1 ? g_new(SegmentMessage *, count) : NULL;
  SegmentRoom *rooms = many ? many : &one;
  all->n_segment = count;
  all->segment = pointers ? pointers : &pointer;
  for (guint i = 0; i < count; i++) {
    segment_to_message(&g_array_index(step->segments, GenerationSegment, i), &rooms[i].message,
                       &rooms[i].copy);
    all->segment[i] = &rooms[i].message;
  }
  return replica_message_pack(&message->base);
}

static GBytes *
pack_segments(StepMessage *message, const GenerationStep *step)
{
  Doppel__Wire__GenerationSegments all = DOPPEL__WIRE__GENERATION_SEGMENTS__INIT;
  message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_SEGMENTS;
  message->segments = &all;
  return pack_with_segments(message, step, &all);
}

static GBytes *
pack_whole(StepMessage *message, const GenerationStep *step)
{
  OpenMessage open;
  Doppel__Wire__GenerationWhole whole = DOPPEL__WIRE__GENERATION_WHOLE__INIT;
  Doppel__Wire__GenerationSegments all = DOPPEL__WIRE__GENERATION_SEGMENTS__INIT;
  Doppel__Wire__GenerationClose close = DOPPEL__WIRE__GENERATION_CLOSE__INIT;
  open_to_message(step, &open);
  close.hash = (ProtobufCBinaryData){.data = (guint8 *)step->hash, .len = sizeof step->hash};
  whole.open = &open.message;
  whole.segments = step->segments ? &all : NULL;
  whole.close = &close;
  message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_WHOLE;
  message->whole = &whole;
  return pack_with_segments(message, step, &all);
}

static GBytes *
pack_paths(StepMessage *message, const GenerationStep *step)
{
  Doppel__Wire__GenerationLift lift = DOPPEL__WIRE__GENERATION_LIFT__INIT;
  Doppel__Wire__GenerationDrop drop = DOPPEL__WIRE__GENERATION_DROP__INIT;
  Doppel__Wire__GenerationRemove removed = DOPPEL__WIRE__GENERATION_REMOVE__INIT;
  Doppel__Wire__GenerationLink link = DOPPEL__WIRE__GENERATION_LINK__INIT;
  lift.path = drop.path = removed.path = link.path = replica_path_to_message(step->path);
  lift.hold = drop.hold = step->hold;
  link.to = replica_path_to_message(step->to);
  switch (step->kind) {
  case GENERATION_LIFT:
    message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_LIFT;
    message->lift = &lift;
    break;
  case GENERATION_DROP:
    message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_DROP;
    message->drop = &drop;
    break;
  case GENERATION_REMOVE:
    message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_REMOVE;
    message->remove = &removed;
    break;
  default:
    message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_LINK;
    message->link = &link;
    break;
  }
  return replica_message_pack(&message->base);
}

static GBytes *
pack_end(StepMessage *message, const GenerationStep *step)
{
  Doppel__Wire__GenerationClose close = DOPPEL__WIRE__GENERATION_CLOSE__INIT;
  Doppel__Wire__GenerationCommit commit = DOPPEL__WIRE__GENERATION_COMMIT__INIT;
  close.hash = (ProtobufCBinaryData){.data = (guint8 *)step->hash, .len = sizeof step->hash};
  commit.generation = step->generation;
  commit.time_ns = step->time_ns;
  commit.nodes = step->nodes;
  if (step->kind == GENERATION_CLOSE) {
    message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_CLOSE;
    message->close = &close;
  } else {
    message->kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_COMMIT;
    message->commit = &commit;
  }
  return replica_message_pack(&message->base);
}

GBytes *
generation_step_pack(const GenerationStep *step)
{
  StepMessage message = DOPPEL__WIRE__GENERATION_STEP__INIT;
  message.number = step->number;
  switch (step->kind) {
  case GENERATION_PLACE:
    return pack_place(&message, step);
  case GENERATION_OPEN:
    return pack_open(&message, step);
  case GENERATION_TAKE:
    return pack_take(&message, step);
  case GENERATION_SEGMENTS:
    return pack_segments(&message, step);
  case GENERATION_WHOLE:
    return pack_whole(&message, step);
  case GENERATION_CLOSE:
  case GENERATION_COMMIT:
    return pack_end(&message, step);
  default:
    return pack_paths(&message, step);
  }
}

static gboolean
refuse(GError **error, const char *what)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the device sent a step of a generation that makes no sense: %s", what);
}

static char *
path_from(const ProtobufCBinaryData *data, gboolean root_too, GError **error)
{
  if (data->len == 0 && root_too)
    return g_strdup("");
  if (replica_path_valid_within((const char *)data->data, data->len, GENERATION_PATH_MAX))
    return g_strndup((const char *)data->data, data->len);
  refuse(error, "a path that does not stay below the root");
  return NULL;
}

static gboolean
take_facts(GenerationStep *step, const Doppel__Wire__ReplicaFacts *message, GError **error)
{
  ReplicaFacts *facts = &step->facts;
  if (!replica_facts_all_from_message(message, facts, error))
    return FALSE;
  facts->nlink = 0;
  gboolean is_device = facts->type == REPLICA_CHARACTER_DEVICE || facts->type == REPLICA_BLOCK_DEVICE;
  if (facts->type == REPLICA_ABSENT || facts->type == REPLICA_SOCKET || facts->pseudo || facts->hashed ||
      (facts->rdev && !is_device))
    return refuse(error, "facts of what does not travel");
  return TRUE;
}

static gboolean
take_place(GenerationStep *step, const Doppel__Wire__GenerationPlace *place, GError **error)
{
  step->path = path_from(&place->path, TRUE, error);
  if (!step->path || !take_facts(step, place->facts, error))
    return FALSE;
  if (step->facts.size || (!*step->path && step->facts.type != REPLICA_DIRECTORY))
    return refuse(error, "a node that cannot be placed");
  return TRUE;
}

static gboolean
take_open(GenerationStep *step, const Doppel__Wire__GenerationOpen *open, GError **error)
{
  step->path = path_from(&open->path, FALSE, error);
  if (!step->path || !take_facts(step, open->facts, error))
    return FALSE;
  if (step->facts.type != REPLICA_FILE || open->n_source > GENERATION_SOURCES_MAX)
    return refuse(error, "a content of what has none");
  step->sources = g_ptr_array_new_with_free_func(g_free);
  for (gsize i = 0; i < open->n_source; i++) {
    char *source = path_from(&open->source[i], FALSE, error);
    if (!source)
      return FALSE;
    g_ptr_array_add(step->sources, source);
  }
  return TRUE;
}

static gboolean
take_take(GenerationStep *step, const Doppel__Wire__GenerationTake *take, GError **error)
{
  step->path = path_from(&take->path, FALSE, error);
  if (!step->path || !take_facts(step, take->facts, error))
    return FALSE;
  if (step->facts.type != REPLICA_FILE || take->hash.len != sizeof step->hash ||
      take->salt.len != sizeof step->salt || take->proof.len != sizeof step->proof)
    return refuse(error, "a content that is not named as it should be");
  memcpy(step->hash, take->hash.data, sizeof step->hash);
  memcpy(step->salt, take->salt.data, sizeof step->salt);
  memcpy(step->proof, take->proof.data, sizeof step->proof);
  return TRUE;
}

static gboolean
fill_segment(GenerationSegment *segment, const SegmentMessage *message)
{
  *segment = (GenerationSegment){0};
  switch (message->kind_case) {
  case DOPPEL__WIRE__GENERATION_SEGMENT__KIND_LITERAL:
    segment->kind = GENERATION_LITERAL;
    segment->length = message->literal.len;
    segment->bytes = message->literal.data;
    break;
  case DOPPEL__WIRE__GENERATION_SEGMENT__KIND_COPY:
    segment->kind = GENERATION_COPY;
    segment->source = message->copy->source;
    segment->offset = message->copy->offset;
    segment->length = message->copy->length;
    break;
  case DOPPEL__WIRE__GENERATION_SEGMENT__KIND_ZEROS:
    segment->kind = GENERATION_ZEROS;
    segment->length = message->zeros;
    break;
  default:
    return FALSE;
  }
  return segment->length > 0 && segment->length <= G_MAXINT64 && segment->source < GENERATION_SOURCES_MAX &&
         segment->offset <= G_MAXINT64 - segment->length;
}

static gboolean
take_segments(GenerationStep *step, const Doppel__Wire__GenerationSegments *segments, GError **error)
{
  if (segments->n_segment == 0 || segments->n_segment > GENERATION_SEGMENTS_MAX)
    return refuse(error, "no segments, or too many");
  step->segments = g_array_sized_new(FALSE, FALSE, sizeof(GenerationSegment), segments->n_segment);
  guint64 literals = 0, all = 0;
  for (gsize i = 0; i < segments->n_segment; i++) {
    GenerationSegment segment;
    if (!fill_segment(&segment, segments->segment[i]))
      return refuse(error, "an impossible segment");
    literals += segment.kind == GENERATION_LITERAL ? segment.length : 0;
    if (literals > GENERATION_LITERAL_MAX || segment.length > G_MAXINT64 - all)
      return refuse(error, "more content than there can be");
    all += segment.length;
    g_array_append_val(step->segments, segment);
  }
  return TRUE;
}

static gboolean
take_link(GenerationStep *step, const Doppel__Wire__GenerationLink *link, GError **error)
{
  step->path = path_from(&link->path, FALSE, error);
  step->to = step->path ? path_from(&link->to, FALSE, error) : NULL;
  if (!step->to)
    return FALSE;
  return strcmp(step->path, step->to) != 0 || refuse(error, "a link to itself");
}

static gboolean
take_close(GenerationStep *step, const Doppel__Wire__GenerationClose *close, GError **error)
{
  if (close->hash.len != sizeof step->hash)
    return refuse(error, "no hash");
  memcpy(step->hash, close->hash.data, sizeof step->hash);
  return TRUE;
}

static gboolean
take_whole(GenerationStep *step, const Doppel__Wire__GenerationWhole *whole, GError **error)
{
  if (!whole->open || !whole->close)
    return refuse(error, "a part of a content");
  return take_open(step, whole->open, error) &&
         (!whole->segments || take_segments(step, whole->segments, error)) &&
         take_close(step, whole->close, error);
}

static gboolean
take_step(GenerationStep *step, const StepMessage *message, GError **error)
{
  step->number = message->number;
  if (step->number == 0)
    return refuse(error, "no number");
  switch (step->kind) {
  case GENERATION_LIFT:
    step->hold = message->lift->hold;
    step->path = path_from(&message->lift->path, FALSE, error);
    return step->path != NULL;
  case GENERATION_DROP:
    step->hold = message->drop->hold;
    step->path = path_from(&message->drop->path, FALSE, error);
    return step->path != NULL;
  case GENERATION_REMOVE:
    step->path = path_from(&message->remove->path, FALSE, error);
    return step->path != NULL;
  case GENERATION_PLACE:
    return take_place(step, message->place, error);
  case GENERATION_OPEN:
    return take_open(step, message->open, error);
  case GENERATION_TAKE:
    return take_take(step, message->take, error);
  case GENERATION_SEGMENTS:
    return take_segments(step, message->segments, error);
  case GENERATION_CLOSE:
    return take_close(step, message->close, error);
  case GENERATION_LINK:
    return take_link(step, message->link, error);
  case GENERATION_COMMIT:
    step->generation = message->commit->generation;
    step->time_ns = message->commit->time_ns;
    step->nodes = message->commit->nodes;
    return TRUE;
  case GENERATION_WHOLE:
    return take_whole(step, message->whole, error);
  }
  return refuse(error, "an unknown kind");
}

static GenerationKind
kind_from(const StepMessage *message)
{
  static const GenerationKind kinds[] = {
      [DOPPEL__WIRE__GENERATION_STEP__KIND_LIFT] = GENERATION_LIFT,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_DROP] = GENERATION_DROP,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_REMOVE] = GENERATION_REMOVE,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_PLACE] = GENERATION_PLACE,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_OPEN] = GENERATION_OPEN,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_SEGMENTS] = GENERATION_SEGMENTS,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_CLOSE] = GENERATION_CLOSE,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_LINK] = GENERATION_LINK,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_COMMIT] = GENERATION_COMMIT,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_WHOLE] = GENERATION_WHOLE,
      [DOPPEL__WIRE__GENERATION_STEP__KIND_TAKE] = GENERATION_TAKE,
  };
  return message->kind_case < G_N_ELEMENTS(kinds) ? kinds[message->kind_case] : 0;
}

static void
free_message(gpointer message)
{
  doppel__wire__generation_step__free_unpacked(message, NULL);
}

GenerationStep *
generation_step_unpack(GBytes *packed, GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  StepMessage *message = length && length <= GENERATION_MESSAGE_MAX
                             ? doppel__wire__generation_step__unpack(NULL, length, bytes)
                             : NULL;
  if (!message) {
    refuse(error, "not a message");
    return NULL;
  }
  g_autoptr(GenerationStep) step = generation_step_new(kind_from(message));
  step->data = g_bytes_new_with_free_func(message, 0, free_message, message);
  if (!take_step(step, message, error))
    return NULL;
  if (!step->segments)
    g_clear_pointer(&step->data, g_bytes_unref);
  return g_steal_pointer(&step);
}
