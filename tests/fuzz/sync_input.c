#include "sync_input.h"

#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "replica/generation.h"
#include "replica/message.h"
#include "replicator/discard.h"

enum { MESSAGES_MAX = 24, ENTRIES_MAX = 6 };

static const char *const names[] = {"a",   "d", "d/f", "d/e",    "d/e/g", "l",
                                    "l/x", "",  "..",  "d/../a", "/a",    "new"};

static const guint8 identity[SYNC_IDENTITY] = "0123456789abcde";

static char *
some_name(Input *input)
{
  return (char *)names[input_below(input, G_N_ELEMENTS(names))];
}

static void
some_facts(Input *input, ReplicaFacts *facts)
{
  *facts = (ReplicaFacts){.type = input_below(input, REPLICA_BLOCK_DEVICE + 1),
                          .mode = input_number(input, 2) & 07777,
                          .mtime_ns = input_number(input, 4),
                          .target = input_below(input, 2) ? (char *)"a" : (char *)"../outside"};
  if (facts->type != REPLICA_SYMLINK)
    facts->target = NULL;
  if (facts->type == REPLICA_FILE)
    facts->size = input_below(input, 8) ? input_below(input, 30) : input_number(input, 8);
}

static ProtobufCBinaryData
some_blob(Input *input)
{
  gsize length;
  const guint8 *bytes = input_blob(input, &length);
  return (ProtobufCBinaryData){length, (guint8 *)bytes};
}

#define SEND(KIND, field, contents) SYNC_SEND(link, KIND, field, contents, NULL)

static GBytes *
some_step(Input *input, guint64 number)
{
  GenerationStep step = {.kind = 1 + input_below(input, GENERATION_TAKE), .number = number};
  GenerationSegment segment = {.kind = 1 + input_below(input, 3), .length = 1 + input_below(input, 30)};
  gsize length;
  segment.bytes = input_bytes(input, segment.kind == GENERATION_LITERAL ? segment.length : 0, &length);
  if (segment.kind == GENERATION_LITERAL)
    segment.length = length;
  g_autoptr(GArray) segments = g_array_new(FALSE, FALSE, sizeof segment);
  g_autoptr(GPtrArray) sources = g_ptr_array_new();
  g_array_append_val(segments, segment);
  if (input_below(input, 2))
    g_ptr_array_add(sources, some_name(input));
  step.path = some_name(input);
  step.to = some_name(input);
  step.hold = input_below(input, 3);
  step.segments = segments;
  step.sources = sources;
  step.generation = 1 + input_below(input, 2);
  step.nodes = input_below(input, 6);
  some_facts(input, &step.facts);
  return generation_step_pack(&step);
}

static void
send_step(Input *input, Link *link, guint64 *number)
{
  enum { TOGETHER = 4 };
  Doppel__Sync__Step step = DOPPEL__SYNC__STEP__INIT;
  g_autoptr(GPtrArray) packed = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  ProtobufCBinaryData steps[TOGETHER];
  step.step = steps;
  step.n_step = input_below(input, TOGETHER + 1);
  step.heard = input_below(input, 3);
  for (gsize i = 0; i < step.n_step; i++) {
    GBytes *bytes = some_step(input, *number);
    g_ptr_array_add(packed, bytes);
    *number += input_below(input, 16) != 0;
    steps[i].data = (guint8 *)g_bytes_get_data(bytes, &steps[i].len);
    if (input_below(input, 16) == 0)
      steps[i] = some_blob(input);
  }
  SEND(STEP, step, &step);
}

static void
send_as_device(Input *input, Link *link, guint64 *number)
{
  Doppel__Sync__Begin begin = DOPPEL__SYNC__BEGIN__INIT;
  Doppel__Sync__Abandon abandon = DOPPEL__SYNC__ABANDON__INIT;
  Doppel__Sync__Attempt attempt = DOPPEL__SYNC__ATTEMPT__INIT;
  Doppel__Sync__List list = DOPPEL__SYNC__LIST__INIT;
  Doppel__Sync__Show show = DOPPEL__SYNC__SHOW__INIT;
  Doppel__Sync__More more = DOPPEL__SYNC__MORE__INIT;
  Doppel__Sync__Compare compare = DOPPEL__SYNC__COMPARE__INIT;
  Doppel__Sync__Fetch fetch = DOPPEL__SYNC__FETCH__INIT;
  Doppel__Sync__Keep keep = DOPPEL__SYNC__KEEP__INIT;
  Doppel__Sync__Rules rules = DOPPEL__SYNC__RULES__INIT;
  guint64 pins[2] = {input_below(input, 4), 1};
  Doppel__Sync__FetchItem item[2] = {DOPPEL__SYNC__FETCH_ITEM__INIT, DOPPEL__SYNC__FETCH_ITEM__INIT};
  Doppel__Sync__FetchItem *items[] = {&item[0], &item[1]};
  Doppel__Sync__Contents contents = DOPPEL__SYNC__CONTENTS__INIT;
  switch (input_below(input, 16)) {
  case 0:
    attempt.identity = (ProtobufCBinaryData){sizeof identity, (guint8 *)identity};
    attempt.generation = input_below(input, 4);
    attempt.durable = input_below(input, 2) ? *number - 1 : input_below(input, 8);
    begin.attempt = input_below(input, 8) ? &attempt : NULL;
    SEND(BEGIN, begin, &begin);
    break;
  case 1:
    SEND(ABANDON, abandon, &abandon);
    *number = 1;
    break;
  case 2:
    SEND(LIST, list, &list);
    break;
  case 3:
    show.path = replica_path_to_message(some_name(input));
    show.generation = input_below(input, 3);
    show.below = input_below(input, 2);
    show.hashes = input_below(input, 2);
    show.contents = input_below(input, 2);
    show.links = input_below(input, 2);
    show.grant = input_number(input, 4);
    SEND(SHOW, show, &show);
    break;
  case 4:
    more.grant = input_number(input, 4);
    SEND(MORE, more, &more);
    break;
  case 5:
    compare.older = input_below(input, 3);
    compare.newer = input_below(input, 3);
    compare.grant = input_number(input, 4);
    compare.path = replica_path_to_message(some_name(input));
    SEND(COMPARE, compare, &compare);
    break;
  case 8:
    rules.last = input_below(input, 3);
    rules.monthly = input_number(input, 4);
    keep.rules = input_below(input, 2) ? &rules : NULL;
    keep.pin = keep.unpin = pins;
    keep.n_pin = input_below(input, 3);
    keep.n_unpin = input_below(input, 3);
    SEND(KEEP, keep, &keep);
    break;
  case 7:
    fetch.generation = input_below(input, 3);
    fetch.grant = input_number(input, 4);
    fetch.item = items;
    fetch.n_item = input_below(input, 3);
    for (guint i = 0; i < fetch.n_item; i++) {
      item[i].path = replica_path_to_message(some_name(input));
      item[i].offset = input_below(input, 2) ? input_below(input, 20) : input_number(input, 8);
    }
    SEND(FETCH, fetch, &fetch);
  case 9:
    contents.grant = input_number(input, 4);
    SEND(CONTENTS, contents, &contents);
    break;
  default:
    send_step(input, link, number);
  }
}

/* Of a content that is all zeros, which Data can tell; or of none. */
static ProtobufCBinaryData
some_hash(Input *input, guint64 size, XXH128_canonical_t *hash)
{
  static const guint8 zeros[32];
  if (size > sizeof zeros || input_below(input, 4) == 0)
    return (ProtobufCBinaryData){sizeof identity, (guint8 *)identity};
  XXH128_canonicalFromHash(hash, XXH3_128bits(zeros, size));
  return (ProtobufCBinaryData){sizeof hash->digest, hash->digest};
}

static void
send_entries(Input *input, Link *link)
{
  Doppel__Sync__Entries entries = DOPPEL__SYNC__ENTRIES__INIT;
  Doppel__Sync__Entry list[ENTRIES_MAX], *pointers[ENTRIES_MAX];
  Doppel__Wire__ReplicaFacts facts[ENTRIES_MAX];
  ReplicaFacts given[ENTRIES_MAX];
  XXH128_canonical_t hashes[ENTRIES_MAX];
  entries.entry = pointers;
  entries.n_entry = input_below(input, ENTRIES_MAX);
  for (guint i = 0; i < entries.n_entry; i++) {
    doppel__sync__entry__init(pointers[i] = &list[i]);
    some_facts(input, &given[i]);
    replica_facts_to_message(&given[i], &facts[i]);
    list[i].path = replica_path_to_message(some_name(input));
    list[i].facts = input_below(input, 8) ? &facts[i] : NULL;
    list[i].change = input_below(input, 6);
    if (input_below(input, 6) == 0)
      list[i].link = replica_path_to_message(some_name(input));
    if (given[i].type == REPLICA_FILE && input_below(input, 8))
      list[i].hash = some_hash(input, given[i].size, &hashes[i]);
  }
  SEND(ENTRIES, entries, &entries);
}

static void
send_as_clone(Input *input, Link *link)
{
  Doppel__Sync__Attempt attempt = DOPPEL__SYNC__ATTEMPT__INIT;
  Doppel__Sync__Generation generation = DOPPEL__SYNC__GENERATION__INIT;
  Doppel__Sync__Welcome welcome = DOPPEL__SYNC__WELCOME__INIT;
  Doppel__Sync__Durable durable = DOPPEL__SYNC__DURABLE__INIT;
  Doppel__Sync__Mismatch mismatch = DOPPEL__SYNC__MISMATCH__INIT;
  Doppel__Sync__Committed committed = DOPPEL__SYNC__COMMITTED__INIT;
  Doppel__Sync__Data data = DOPPEL__SYNC__DATA__INIT;
  Doppel__Sync__End end = DOPPEL__SYNC__END__INIT;
  Doppel__Sync__Generations generations = DOPPEL__SYNC__GENERATIONS__INIT;
  Doppel__Sync__Generation *one = &generation;
  attempt.identity = (ProtobufCBinaryData){sizeof identity, (guint8 *)identity};
  attempt.generation = generation.number = input_below(input, 3);
  attempt.durable = input_below(input, 4) ? 0 : input_below(input, 8);
  generation.nodes = input_below(input, 4);
  switch (input_below(input, 9)) {
  case 0:
    welcome.version = SYNC_VERSION;
    welcome.store = attempt.identity;
    welcome.head = input_below(input, 2) ? one : NULL;
    welcome.attempt = input_below(input, 2) ? &attempt : NULL;
    welcome.contents = input_below(input, 4) ? 0 : input_number(input, 4);
    SEND(WELCOME, welcome, &welcome);
    break;
  case 1:
    durable.uncommitted = TRUE;
    /* fall through */
  case 2:
    durable.number = input_below(input, 12);
    SEND(DURABLE, durable, &durable);
    break;
  case 3:
    mismatch.number = input_below(input, 12);
    SEND(MISMATCH, mismatch, &mismatch);
    break;
  case 4:
    committed.generation = one;
    SEND(COMMITTED, committed, &committed);
    break;
  case 5:
    data.bytes = some_blob(input);
    data.zeros = input_below(input, 2) ? input_below(input, 20) : input_number(input, 8);
    data.last = input_below(input, 2);
    SEND(DATA, data, &data);
    break;
  case 6:
    SEND(END, end, &end);
    break;
  case 7:
    generations.generation = &one;
    generations.n_generation = input_below(input, 2);
    SEND(GENERATIONS, generations, &generations);
    break;
  default:
    send_entries(input, link);
  }
}

static void
send_first(Input *input, Link *link, gboolean as_device)
{
  Doppel__Sync__Hello hello = DOPPEL__SYNC__HELLO__INIT;
  Doppel__Sync__Welcome welcome = DOPPEL__SYNC__WELCOME__INIT;
  Doppel__Sync__Attempt attempt = DOPPEL__SYNC__ATTEMPT__INIT;
  hello.version = welcome.version = SYNC_VERSION;
  hello.write = input_below(input, 8) != 0;
  welcome.store = attempt.identity = (ProtobufCBinaryData){sizeof identity, (guint8 *)identity};
  attempt.generation = 1;
  welcome.contents = input_below(input, 3) ? 0 : input_below(input, 70000);
  if (input_below(input, 32) == 0)
    return;
  if (as_device) {
    Doppel__Sync__Begin begin = DOPPEL__SYNC__BEGIN__INIT;
    begin.attempt = &attempt;
    SEND(HELLO, hello, &hello);
    SEND(BEGIN, begin, &begin);
  } else {
    SEND(WELCOME, welcome, &welcome);
  }
}

void
sync_input_send(Input *input, Link *link, int fd, gboolean as_device)
{
  guint64 number = 1;
  send_first(input, link, as_device);
  for (guint i = 0; i < MESSAGES_MAX && input->left; i++) {
    if (input_below(input, 24) == 0) {
      ProtobufCBinaryData raw = some_blob(input);
      link_send(link, SYNC_CHANNEL - input_below(input, 2), &(struct iovec){raw.data, raw.len}, 1, NULL);
    } else if (as_device) {
      send_as_device(input, link, &number);
    } else {
      send_as_clone(input, link);
    }
  }
  shutdown(fd, SHUT_WR);
}

char *
sync_input_directory(void)
{
  char *directory = g_strdup("/dev/shm/doppel-fuzz-XXXXXX");
  if (g_mkdtemp_full(directory, 0700))
    return directory;
  g_free(directory);
  return g_dir_make_tmp("doppel-fuzz-XXXXXX", NULL);
}

void
sync_input_remove(char *directory)
{
  if (!discard_directory(directory, NULL))
    abort();
  g_free(directory);
}
