/* Steps of a generation as messages: what is packed comes out again, and what makes no sense is refused. */
#include <string.h>

#include "base/error.h"
#include "replica/generation.h"
#include "replica/message.h"
#include "replica/path.h"
#include "wire/generation.pb-c.h"

typedef Doppel__Wire__GenerationStep StepMessage;

static GenerationStep *
travel(const GenerationStep *step)
{
  g_autoptr(GBytes) packed = generation_step_pack(step);
  g_assert_cmpuint(g_bytes_get_size(packed), <=, GENERATION_MESSAGE_MAX);
  g_autoptr(GError) error = NULL;
  GenerationStep *back = generation_step_unpack(packed, &error);
  g_assert_no_error(error);
  g_assert_cmpint(back->kind, ==, step->kind);
  g_assert_cmpuint(back->number, ==, step->number);
  g_assert_cmpstr(back->path, ==, step->path);
  g_assert_cmpstr(back->to, ==, step->to);
  g_assert_cmpuint(back->hold, ==, step->hold);
  return back;
}

static GenerationStep *
new_step(GenerationKind kind, const char *path)
{
  GenerationStep *step = generation_step_new(kind);
  step->number = 7;
  step->path = g_strdup(path);
  return step;
}

static void
test_paths(void)
{
  static const GenerationKind kinds[] = {GENERATION_LIFT, GENERATION_DROP, GENERATION_REMOVE,
                                         GENERATION_LINK};
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autoptr(GenerationStep) step = new_step(kinds[i], "a/\xff\x01/b");
    step->hold = i < 2 ? G_MAXUINT64 : 0;
    step->to = kinds[i] == GENERATION_LINK ? g_strdup("a/c") : NULL;
    g_autoptr(GenerationStep) back = travel(step);
  }
}

static char *
long_path(gsize length)
{
  GString *path = g_string_sized_new(length);
  while (path->len + 2 < length) {
    gsize part = MIN(REPLICA_NAME_MAX, length - path->len - (path->len ? 1 : 0));
    if (path->len)
      g_string_append_c(path, '/');
    for (gsize i = 0; i < part; i++)
      g_string_append_c(path, 'x');
  }
  return g_string_free(path, FALSE);
}

static void
test_long_paths(void)
{
  g_autofree char *path = long_path(GENERATION_PATH_MAX - 1);
  g_assert_cmpuint(strlen(path), ==, GENERATION_PATH_MAX - 1);
  g_autoptr(GenerationStep) step = new_step(GENERATION_REMOVE, path);
  g_autoptr(GenerationStep) back = travel(step);
}

static void
test_place(void)
{
  static const guint8 attribute[] = "\0\6user.a\0\0\0\1x";
  g_autoptr(GenerationStep) step = new_step(GENERATION_PLACE, "");
  step->facts = (ReplicaFacts){.type = REPLICA_DIRECTORY,
                               .mode = 07755,
                               .uid = 4294967294u,
                               .gid = 5,
                               .mtime_ns = -1,
                               .nlink = 3,
                               .dev = 4,
                               .ino = 5,
                               .ctime_ns = 6,
                               .xattrs = g_bytes_new(attribute, sizeof attribute - 1)};
  g_autoptr(GenerationStep) back = travel(step);
  g_assert_true(replica_facts_equal(&back->facts, &step->facts, REPLICA_FACT_ALL));
  g_assert_cmpuint(back->facts.ino, ==, 0);
  g_autoptr(GenerationStep) link = new_step(GENERATION_PLACE, "l");
  link->facts = (ReplicaFacts){.type = REPLICA_SYMLINK, .mode = 0777, .target = g_strdup("/x/\xfe")};
  g_autoptr(GenerationStep) link_back = travel(link);
  g_assert_cmpstr(link_back->facts.target, ==, "/x/\xfe");
}

/* The largest of each kind fits a message. */
static void
test_open(void)
{
  g_autofree char *path = long_path(GENERATION_PATH_MAX - 1);
  g_autoptr(GenerationStep) step = new_step(GENERATION_OPEN, path);
  step->facts = (ReplicaFacts){.type = REPLICA_FILE, .mode = 0644, .size = G_MAXINT64, .hashed = TRUE};
  step->sources = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < GENERATION_SOURCES_MAX; i++)
    g_ptr_array_add(step->sources, g_strdup(path));
  g_autoptr(GenerationStep) back = travel(step);
  g_assert_cmpuint(back->sources->len, ==, GENERATION_SOURCES_MAX);
  g_assert_cmpstr(back->sources->pdata[15], ==, path);
  g_assert_cmpuint(back->facts.size, ==, G_MAXINT64);
  g_assert_false(back->facts.hashed);
}

static void
add_segment(GenerationStep *step, GenerationSegment segment)
{
  if (!step->segments)
    step->segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment));
  g_array_append_val(step->segments, segment);
}

static void
test_segments(void)
{
  g_autofree guint8 *bytes = g_malloc(GENERATION_LITERAL_MAX);
  for (guint i = 0; i < GENERATION_LITERAL_MAX; i++)
    bytes[i] = i * 31 >> 3;
  g_autoptr(GenerationStep) step = new_step(GENERATION_SEGMENTS, NULL);
  guint piece = GENERATION_LITERAL_MAX / (GENERATION_SEGMENTS_MAX / 2);
  for (guint i = 0; i < GENERATION_SEGMENTS_MAX; i++) {
    if (i % 2)
      add_segment(step, (GenerationSegment){
                            .kind = GENERATION_LITERAL, .length = piece, .bytes = bytes + i / 2 * piece});
    else if (i % 4)
      add_segment(step, (GenerationSegment){.kind = GENERATION_ZEROS, .length = 1ull << 50});
    else
      add_segment(step, (GenerationSegment){
                            .kind = GENERATION_COPY, .source = 15, .offset = 1ull << 62, .length = 1});
  }
  g_autoptr(GenerationStep) back = travel(step);
  g_assert_cmpuint(back->segments->len, ==, GENERATION_SEGMENTS_MAX);
  for (guint i = 0; i < GENERATION_SEGMENTS_MAX; i++) {
    const GenerationSegment *a = &g_array_index(step->segments, GenerationSegment, i);
    const GenerationSegment *b = &g_array_index(back->segments, GenerationSegment, i);
    g_assert_true(a->kind == b->kind && a->length == b->length && a->source == b->source &&
                  a->offset == b->offset);
    if (a->bytes)
      g_assert_cmpmem(a->bytes, a->length, b->bytes, b->length);
  }
}

static void
test_ends(void)
{
  g_autoptr(GenerationStep) close = new_step(GENERATION_CLOSE, NULL);
  memset(close->hash, 0xa5, sizeof close->hash);
  g_autoptr(GenerationStep) close_back = travel(close);
  g_assert_cmpmem(close->hash, sizeof close->hash, close_back->hash, sizeof close_back->hash);
  g_autoptr(GenerationStep) commit = new_step(GENERATION_COMMIT, NULL);
  commit->generation = 12;
  commit->time_ns = -5;
  commit->nodes = G_MAXUINT64;
  g_autoptr(GenerationStep) commit_back = travel(commit);
  g_assert_cmpuint(commit_back->generation, ==, 12);
  g_assert_cmpint(commit_back->time_ns, ==, -5);
  g_assert_cmpuint(commit_back->nodes, ==, G_MAXUINT64);
}

static void
test_whole(void)
{
  g_autoptr(GenerationStep) step = new_step(GENERATION_WHOLE, "a/b");
  step->facts = (ReplicaFacts){.type = REPLICA_FILE, .mode = 0644, .size = 12};
  memset(step->hash, 0x5a, sizeof step->hash);
  g_autoptr(GenerationStep) empty = travel(step);
  g_assert_null(empty->segments);
  g_assert_cmpmem(step->hash, sizeof step->hash, empty->hash, sizeof empty->hash);
  step->sources = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(step->sources, g_strdup("c"));
  add_segment(step,
              (GenerationSegment){.kind = GENERATION_LITERAL, .length = 5, .bytes = (const guint8 *)"hello"});
  add_segment(step, (GenerationSegment){.kind = GENERATION_COPY, .offset = 3, .length = 7});
  g_autoptr(GenerationStep) back = travel(step);
  g_assert_cmpstr(back->path, ==, "a/b");
  g_assert_cmpuint(back->facts.size, ==, 12);
  g_assert_cmpstr(back->sources->pdata[0], ==, "c");
  g_assert_cmpuint(back->segments->len, ==, 2);
  const GenerationSegment *literal = &g_array_index(back->segments, GenerationSegment, 0);
  g_assert_cmpmem(literal->bytes, literal->length, "hello", 5);
}

static void
assert_refused(GBytes *packed)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(generation_step_unpack(packed, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
assert_step_refused(GenerationStep *step)
{
  g_autoptr(GBytes) packed = generation_step_pack(step);
  assert_refused(packed);
  generation_step_free(step);
}

static void
test_hostile_paths(void)
{
  static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b"};
  static const GenerationKind kinds[] = {GENERATION_LIFT, GENERATION_DROP, GENERATION_REMOVE,
                                         GENERATION_LINK};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
    for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
      GenerationStep *step = new_step(kinds[k], bad[i]);
      step->to = g_strdup("good");
      assert_step_refused(step);
    }
  GenerationStep *link = new_step(GENERATION_LINK, "good");
  link->to = g_strdup("../bad");
  assert_step_refused(link);
  link = new_step(GENERATION_LINK, "same");
  link->to = g_strdup("same");
  assert_step_refused(link);
  g_autofree char *path = long_path(GENERATION_PATH_MAX + 5);
  assert_step_refused(new_step(GENERATION_REMOVE, path));
  GenerationStep *unnumbered = new_step(GENERATION_REMOVE, "a");
  unnumbered->number = 0;
  assert_step_refused(unnumbered);
}

static void
test_hostile_nodes(void)
{
  static const ReplicaFacts bad[] = {
      {.type = REPLICA_ABSENT},           {.type = REPLICA_SOCKET},
      {.type = REPLICA_BLOCK_DEVICE + 1}, {.type = REPLICA_FILE, .mode = 010000},
      {.type = REPLICA_FIFO, .rdev = 1},  {.type = REPLICA_SYMLINK},
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    GenerationStep *step = new_step(GENERATION_PLACE, "a");
    step->facts = bad[i];
    assert_step_refused(step);
  }
  GenerationStep *root = new_step(GENERATION_PLACE, "");
  root->facts = (ReplicaFacts){.type = REPLICA_FIFO};
  assert_step_refused(root);
  GenerationStep *open = new_step(GENERATION_OPEN, "a");
  open->facts = (ReplicaFacts){.type = REPLICA_DIRECTORY};
  assert_step_refused(open);
  open = new_step(GENERATION_OPEN, "");
  open->facts = (ReplicaFacts){.type = REPLICA_FILE};
  assert_step_refused(open);
  open = new_step(GENERATION_OPEN, "a");
  open->facts = (ReplicaFacts){.type = REPLICA_FILE};
  open->sources = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(open->sources, g_strdup("../b"));
  assert_step_refused(open);
}

static void
refuse_segment(GenerationSegment segment, guint times)
{
  GenerationStep *step = new_step(GENERATION_SEGMENTS, NULL);
  for (guint i = 0; i < times; i++)
    add_segment(step, segment);
  assert_step_refused(step);
}

static void
test_hostile_segments(void)
{
  g_autofree guint8 *bytes = g_malloc0(GENERATION_LITERAL_MAX + 1);
  refuse_segment((GenerationSegment){.kind = GENERATION_LITERAL}, 1);
  refuse_segment(
      (GenerationSegment){.kind = GENERATION_LITERAL, .bytes = bytes, .length = GENERATION_LITERAL_MAX + 1},
      1);
  refuse_segment((GenerationSegment){.kind = GENERATION_LITERAL, .bytes = bytes, .length = 200 << 10}, 2);
  refuse_segment((GenerationSegment){.kind = GENERATION_ZEROS}, 1);
  refuse_segment((GenerationSegment){.kind = GENERATION_ZEROS, .length = 1}, GENERATION_SEGMENTS_MAX + 1);
  refuse_segment((GenerationSegment){.kind = GENERATION_ZEROS, .length = 1ull << 63}, 1);
  refuse_segment((GenerationSegment){.kind = GENERATION_ZEROS, .length = 1ull << 62}, 2);
  refuse_segment((GenerationSegment){.kind = GENERATION_COPY, .source = 16, .length = 1}, 1);
  refuse_segment((GenerationSegment){.kind = GENERATION_COPY, .offset = G_MAXINT64, .length = 1}, 1);
  refuse_segment((GenerationSegment){.kind = GENERATION_COPY, .offset = G_MAXUINT64, .length = 1}, 1);
}

static void
test_hostile_messages(void)
{
  g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
  g_autoptr(GBytes) noise = g_bytes_new("\xff\xff\xff", 3);
  g_autofree guint8 *zeros = g_malloc0(GENERATION_MESSAGE_MAX + 1);
  g_autoptr(GBytes) large = g_bytes_new(zeros, GENERATION_MESSAGE_MAX + 1);
  assert_refused(nothing);
  assert_refused(noise);
  assert_refused(large);
  StepMessage message = DOPPEL__WIRE__GENERATION_STEP__INIT;
  message.number = 1;
  g_autoptr(GBytes) no_kind = replica_message_pack(&message.base);
  assert_refused(no_kind);
  Doppel__Wire__GenerationClose close = DOPPEL__WIRE__GENERATION_CLOSE__INIT;
  close.hash = (ProtobufCBinaryData){.data = zeros, .len = GENERATION_CONTENT_HASH - 1};
  message.kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_CLOSE;
  message.close = &close;
  g_autoptr(GBytes) short_hash = replica_message_pack(&message.base);
  assert_refused(short_hash);
  Doppel__Wire__GenerationPlace place = DOPPEL__WIRE__GENERATION_PLACE__INIT;
  place.path = replica_path_to_message("a");
  message.kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_PLACE;
  message.place = &place;
  g_autoptr(GBytes) no_facts = replica_message_pack(&message.base);
  assert_refused(no_facts);
  Doppel__Wire__GenerationWhole whole = DOPPEL__WIRE__GENERATION_WHOLE__INIT;
  message.kind_case = DOPPEL__WIRE__GENERATION_STEP__KIND_WHOLE;
  message.whole = &whole;
  g_autoptr(GBytes) no_parts = replica_message_pack(&message.base);
  assert_refused(no_parts);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/replica/generation/paths", test_paths);
  g_test_add_func("/replica/generation/long-paths", test_long_paths);
  g_test_add_func("/replica/generation/place", test_place);
  g_test_add_func("/replica/generation/open", test_open);
  g_test_add_func("/replica/generation/segments", test_segments);
  g_test_add_func("/replica/generation/ends", test_ends);
  g_test_add_func("/replica/generation/hostile-paths", test_hostile_paths);
  g_test_add_func("/replica/generation/hostile-nodes", test_hostile_nodes);
  g_test_add_func("/replica/generation/hostile-segments", test_hostile_segments);
  g_test_add_func("/replica/generation/whole", test_whole);
  g_test_add_func("/replica/generation/hostile-messages", test_hostile_messages);
  return g_test_run();
}
