/* What an editing history costs as a document that nobody has to trust, beside its text work and beside the
 * cryptography alone that as many envelopes need; and what opening the document costs when they are all in
 * its history. Prints one JSON object. bench/ot runs it. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "clonedoc/document.h"
#include "trace.h"

enum { SLICES = 16, AFTER_CHECKPOINT = 100, OPENINGS = 15 };

static int together = 1, limit = 0;

/* Times of one slice or one opening each. */
typedef struct {
  gint64 times[SLICES];
  guint count;
} Times;

static void
add(Times *times, gint64 since)
{
  times->times[times->count++] = clock_now_ns() - since;
}

static double
sum_ms(const Times *times)
{
  gint64 sum = 0;
  for (guint i = 0; i < times->count; i++)
    sum += times->times[i];
  return (double)sum / 1e6;
}

static int
compare(const void *a, const void *b)
{
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return (left > right) - (left < right);
}

static double
median_ms(Times *times)
{
  qsort(times->times, times->count, sizeof *times->times, compare);
  return (double)times->times[times->count / 2] / 1e6;
}

static void
must(gboolean good, const GError *error)
{
  if (!good)
    g_error("%s", error ? error->message : "a document did not do what it has to");
}

static OtOp *
op_of(const TracePatch *patch)
{
  return ot_op_new_edit(patch->at, patch->deleted, patch->inserted, patch->bytes);
}

static void
check_text(const OtText *text, const Trace *trace, const char *what)
{
  g_autofree char *copy = ot_text_copy(text, 0, ot_text_length(text), NULL);
  if (limit == 0 && strcmp(copy, trace->end) != 0)
    g_error("%s: the text at the end is not the history's", what);
}

/* ---- text work */

static void
apply(const Trace *trace, OtText *text, guint first, guint count)
{
  for (guint i = first; i < first + count; i++) {
    g_autoptr(OtOp) op = op_of(&g_array_index(trace->patches, TracePatch, i));
    must(ot_op_apply(op, text, NULL), NULL);
  }
}

/* ---- cryptography alone: of each envelope, with the sizes that ours has, a body sealed, a hash that goes on
 * from the last, and a signature; and by who reads it all of that checked and opened */

typedef struct {
  guint8 seal[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
  guint8 secret[crypto_sign_SECRETKEYBYTES], public[crypto_sign_PUBLICKEYBYTES];
  guint8 chain[2][32];
  gsize body, statement; /* bytes */
  guint8 *bodies, *statements, *signatures;
} Raw;

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG   crypto_aead_xchacha20poly1305_ietf_ABYTES

static void
raw_init(Raw *raw, gsize body, gsize statement, guint count)
{
  *raw = (Raw){.body = body, .statement = MAX(statement, NONCE + body + TAG)};
  crypto_aead_xchacha20poly1305_ietf_keygen(raw->seal);
  crypto_sign_keypair(raw->public, raw->secret);
  raw->statements = g_malloc0(raw->statement * count);
  raw->signatures = g_malloc0((gsize)crypto_sign_BYTES * count);
  raw->bodies = g_malloc0(body);
}

static void
raw_clear(Raw *raw)
{
  g_free(raw->statements);
  g_free(raw->signatures);
  g_free(raw->bodies);
}

static void
hash(guint8 chain[32], const guint8 *statement, gsize length, const guint8 *signature)
{
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, 32);
  crypto_generichash_update(&state, chain, 32);
  crypto_generichash_update(&state, statement, length);
  crypto_generichash_update(&state, signature, crypto_sign_BYTES);
  crypto_generichash_final(&state, chain, 32);
}

static void
raw_author(Raw *raw, guint count)
{
  for (guint i = 0; i < count; i++) {
    guint8 *statement = raw->statements + i * raw->statement, *at = statement + raw->statement;
    guint8 *signature = raw->signatures + (gsize)i * crypto_sign_BYTES;
    at -= NONCE + raw->body + TAG;
    randombytes_buf(at, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(at + NONCE, NULL, raw->bodies, raw->body, NULL, 0, NULL, at,
                                               raw->seal);
    crypto_sign_detached(signature, NULL, statement, raw->statement, raw->secret);
    hash(raw->chain[0], statement, raw->statement, signature);
  }
}

static void
raw_reader(Raw *raw, guint count)
{
  for (guint i = 0; i < count; i++) {
    const guint8 *statement = raw->statements + i * raw->statement, *at = statement + raw->statement;
    const guint8 *signature = raw->signatures + (gsize)i * crypto_sign_BYTES;
    at -= NONCE + raw->body + TAG;
    must(crypto_sign_verify_detached(signature, statement, raw->statement, raw->public) == 0, NULL);
    hash(raw->chain[1], statement, raw->statement, signature);
    must(crypto_aead_xchacha20poly1305_ietf_decrypt(raw->bodies, NULL, NULL, at + NONCE, raw->body + TAG,
                                                    NULL, 0, at, raw->seal) == 0,
         NULL);
  }
}

/* ---- documents */

typedef struct {
  IdentityKey *keys[2];
  DocDocument *author, *reader;
  GPtrArray *entries; /* of GBytes */
  guint64 invitation; /* the reader's */
} Room;

static void
take(DocDocument *doc, const Room *room)
{
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  guint64 number = doc_document_number(doc) + 1;
  gsize length;
  const void *data = g_bytes_get_data(room->entries->pdata[number - 1], &length);
  must(doc_document_take(doc, number, data, length, &taken, &error), error);
  must(taken.verdict == DOC_GOOD, NULL);
}

/* What the author has to say gets the next number, and comes back to it. */
static void
publish(Room *room)
{
  GBytes *entry = doc_document_submit(room->author);
  if (!entry)
    return; /* what was typed was deleted again */
  g_ptr_array_add(room->entries, entry);
  take(room->author, room);
}

static void
found(Room *room)
{
  static const guint8 seeds[2][IDENTITY_SEED_LENGTH] = {{1}, {2}};
  *room = (Room){.entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref)};
  for (guint i = 0; i < 2; i++)
    room->keys[i] = identity_key_from_seed(seeds[i]);
  const IdentityPublic *key = identity_key_public(room->keys[1]);
  DocMember reader = {*key, *key, DOC_WRITER};
  room->author = doc_document_create(room->keys[0], identity_key_public(room->keys[0]));
  g_ptr_array_add(room->entries, doc_document_flight(room->author));
  take(room->author, room);
  must(doc_document_change(room->author, &reader, 1, NULL), NULL);
  publish(room);
  room->invitation = room->entries->len;
  room->reader = doc_document_join(doc_document_name(room->author), room->keys[1], NULL, 0, NULL);
}

static void
room_clear(Room *room)
{
  doc_document_free(room->author);
  doc_document_free(room->reader);
  g_ptr_array_unref(room->entries);
  identity_key_free(room->keys[0]);
  identity_key_free(room->keys[1]);
}

static void
write_all(Room *room, const Trace *trace, guint first, guint count)
{
  for (guint i = first; i < first + count; i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(OtOp) op = op_of(&g_array_index(trace->patches, TracePatch, i));
    must(doc_document_edit(room->author, op, &error), error);
    if ((int)(i % (guint)together) == together - 1)
      publish(room);
  }
}

static void
read_all(Room *room)
{
  while (doc_document_number(room->reader) < room->entries->len)
    take(room->reader, room);
}

/* ---- opening */

static void
open_saved(const Room *room, GBytes *saved, Times *times)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(saved, &length);
  gint64 begin = clock_now_ns();
  g_autoptr(DocDocument) doc = doc_document_load(room->keys[1], data, length, &error);
  must(doc != NULL, error);
  while (doc_document_number(doc) < room->entries->len)
    take(doc, room);
  add(times, begin);
  must(ot_text_equal(doc_document_text(doc), doc_document_text(room->author)), NULL);
}

static void
open_checkpoint(const Room *room, Times *times)
{
  g_autoptr(GError) error = NULL;
  DocCheckpoint at;
  gsize invited, length;
  must(doc_document_last_checkpoint(room->author, &at), NULL);
  const void *invitation = g_bytes_get_data(room->entries->pdata[room->invitation - 1], &invited);
  const void *entry = g_bytes_get_data(room->entries->pdata[at.number - 1], &length);
  gint64 begin = clock_now_ns();
  g_autoptr(DocDocument) doc =
      doc_document_join(doc_document_name(room->author), room->keys[1], invitation, invited, &error);
  must(doc && doc_document_start(doc, &at, entry, length, &error), error);
  while (doc_document_number(doc) < room->entries->len)
    take(doc, room);
  add(times, begin);
  must(ot_text_equal(doc_document_text(doc), doc_document_text(room->author)), NULL);
}

/* The history ends with a checkpoint and some edits after it. */
static void
measure_opening(Room *room)
{
  Times saved_times = {0}, checkpoint_times = {0};
  read_all(room);
  g_autoptr(GBytes) saved = doc_document_save(room->reader);
  must(doc_document_checkpoint(room->author, NULL), NULL);
  publish(room);
  gsize checkpoint = g_bytes_get_size(room->entries->pdata[room->entries->len - 1]);
  for (guint i = 0; i < AFTER_CHECKPOINT; i++) {
    g_autoptr(OtOp) op = ot_op_new_edit(i, 0, "x", 1);
    must(doc_document_edit(room->author, op, NULL), NULL);
    publish(room);
  }
  for (guint i = 0; i < OPENINGS; i++) {
    open_saved(room, saved, &saved_times);
    open_checkpoint(room, &checkpoint_times);
  }
  printf(", \"entries\": %u, \"after\": %d, \"open_saved_ms\": %.2f, \"saved_bytes\": %zu, "
         "\"open_checkpoint_ms\": %.2f, \"checkpoint_bytes\": %zu",
         room->entries->len, AFTER_CHECKPOINT, median_ms(&saved_times), g_bytes_get_size(saved),
         median_ms(&checkpoint_times), checkpoint);
}

/* ---- all of it */

static gsize
mean_size(const Room *room)
{
  gsize sum = 0;
  for (guint i = (guint)room->invitation; i < room->entries->len; i++)
    sum += g_bytes_get_size(room->entries->pdata[i]);
  return sum / MAX(room->entries->len - room->invitation, 1);
}

/* Bytes of an edit's body, on average, as operations of that many edits. */
static gsize
mean_body(const Trace *trace, guint count)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  for (guint i = 0; i < count; i++) {
    g_autoptr(OtOp) op = op_of(&g_array_index(trace->patches, TracePatch, i));
    ot_op_pack(op, bytes);
  }
  return bytes->len / count;
}

/* Slice by slice in turns, so that what else the machine does meets all of them. */
static void
measure(const Trace *trace)
{
  enum { FRAME = 68 }; /* what an entry has around its statement: the signature, and how long both are */
  Times text_times = {0}, raw_author_times = {0}, raw_reader_times = {0}, author_times = {0},
        reader_times = {0};
  guint edits = limit > 0 ? MIN((guint)limit, trace->patches->len) : trace->patches->len, done = 0;
  Room room;
  Raw raw;
  g_autoptr(OtText) text = ot_text_new();
  found(&room);
  must(trace->agents == 1 && *trace->start == '\0', NULL);
  for (guint slice = 0; slice < SLICES; slice++) {
    guint count = slice + 1 < SLICES ? edits / SLICES : edits - done, before = room.entries->len;
    gint64 begin = clock_now_ns();
    apply(trace, text, done, count);
    add(&text_times, begin);
    begin = clock_now_ns();
    write_all(&room, trace, done, count);
    add(&author_times, begin);
    begin = clock_now_ns();
    read_all(&room);
    add(&reader_times, begin);
    guint envelopes = room.entries->len - before;
    raw_init(&raw, mean_body(trace, edits), mean_size(&room) - FRAME, envelopes);
    begin = clock_now_ns();
    raw_author(&raw, envelopes);
    add(&raw_author_times, begin);
    begin = clock_now_ns();
    raw_reader(&raw, envelopes);
    add(&raw_reader_times, begin);
    raw_clear(&raw);
    done += count;
  }
  publish(&room);
  read_all(&room);
  check_text(text, trace, "applied");
  check_text(doc_document_text(room.author), trace, "the author's document");
  check_text(doc_document_text(room.reader), trace, "the reader's document");
  printf("{\"edits\": %u, \"envelopes\": %u, \"envelope_bytes\": %zu, \"text_ms\": %.1f, "
         "\"raw_author_ms\": %.1f, \"raw_reader_ms\": %.1f, \"author_ms\": %.1f, \"reader_ms\": %.1f",
         edits, room.entries->len, mean_size(&room), sum_ms(&text_times), sum_ms(&raw_author_times),
         sum_ms(&raw_reader_times), sum_ms(&author_times), sum_ms(&reader_times));
  measure_opening(&room);
  puts("}");
  room_clear(&room);
}

int
main(int argc, char **argv)
{
  const GOptionEntry options[] = {
      {"together", 0, 0, G_OPTION_ARG_INT, &together, "Edits in an envelope (1)", "N"},
      {"edits", 0, 0, G_OPTION_ARG_INT, &limit, "Of the history's (all)", "N"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new("HISTORY");
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 2 || together < 1 ||
      sodium_init() < 0) {
    fprintf(stderr, "ot_pipeline: %s\n", error ? error->message : "one history is needed");
    return 2;
  }
  g_autoptr(Trace) trace = trace_read(argv[1], &error);
  if (!trace) {
    fprintf(stderr, "ot_pipeline: %s: %s\n", argv[1], error->message);
    return 1;
  }
  measure(trace);
  return 0;
}
