/* What a clone sends to its Controller while a block runs, message after message: made of the input's
 * choices, or as raw bytes. There is no program behind it: messages that are only for one are left out, and
 * so is what is done to it at the block's end. There is a tree of files, which the clone may ask about and
 * change, and nothing beside it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "controller/controller.h"
#include "input.h"
#include "mirror/withhold.h"
#include "replica/delta.h"
#include "replica/message.h"
#include "world.h"

enum {
  MESSAGES_MAX = 12,
  BYTES_MAX = 40000,
  ASKED_MAX = 5,
  BLOCK = 1,
  RANGES_MAX = 6,
  PAGE = 4096,
  MEMORY_PAGES = 16
};

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

static const char *const names[] = {"",     "/a",   "/d",     "/d/f",      "/l",
                                    "/l/x", "/new", "/d/new", "/./d/../a", "//d//f/"};

static char *
some_path(Input *input)
{
  return g_strconcat(world.root_path, names[input_below(input, G_N_ELEMENTS(names))], NULL);
}

static const char *
some_name(Input *input)
{
  const char *name = names[input_below(input, G_N_ELEMENTS(names))];
  return *name ? name + 1 : name;
}

static ProtobufCBinaryData
bytes_of(const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (guint8 *)text};
}

/* Memory of a program that is our own: what is withheld of it may be asked for, and nothing else. */
static guint64 memory_at;

static void
make_memory(void)
{
  if (memory_at)
    return;
  guint8 *memory =
      mmap(NULL, (MEMORY_PAGES + 2) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory + (MEMORY_PAGES + 1) * PAGE, PAGE, PROT_NONE) < 0)
    abort();
  memory_at = (guintptr)memory + PAGE;
  for (guint page = 1; page <= MEMORY_PAGES; page += 3)
    memset(memory + page * PAGE, (int)page, PAGE);
}

/* ---- the clone ---- */

typedef struct {
  Link *link;
  Input *input;
  gsize sent;
} Clone;

static void
clone_send(Clone *clone, const EngineMessage *message)
{
  clone->sent += protobuf_c_message_get_packed_size(&message->base);
  if (clone->sent < BYTES_MAX)
    engine_send(clone->link, message, NULL);
}
#define SEND(KIND, field, contents)                                                                          \
  clone_send(clone, &(EngineMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),          \
                                     DOPPEL__ENGINE__MESSAGE__KIND_##KIND,                                   \
                                     {.field = (contents)}})

static void
send_raw(Clone *clone)
{
  gsize length;
  const guint8 *bytes = input_blob(clone->input, &length);
  clone->sent += length;
  if (clone->sent < BYTES_MAX)
    link_send(clone->link, ENGINE_CHANNEL, &(struct iovec){(void *)bytes, length}, 1, NULL);
}

static void
send_hello(Clone *clone)
{
  gsize length;
  Doppel__Engine__Hello hello = DOPPEL__ENGINE__HELLO__INIT;
  const char *text = (const char *)input_blob(clone->input, &length);
  g_autofree char *features = g_strndup(text, length);
  hello.version = ENGINE_VERSION;
  hello.architecture = (char *)arch_name;
  hello.features = features;
  SEND(HELLO, hello, &hello);
}

static void
send_ask_paths(Clone *clone)
{
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  ProtobufCBinaryData list[ASKED_MAX];
  Doppel__Engine__AskPaths ask = DOPPEL__ENGINE__ASK_PATHS__INIT;
  ask.n_path = input_below(clone->input, ASKED_MAX);
  ask.path = list;
  ask.follow = input_below(clone->input, 2);
  ask.contents = input_below(clone->input, 2);
  for (guint i = 0; i < ask.n_path; i++) {
    g_ptr_array_add(paths, some_path(clone->input));
    list[i] = bytes_of(paths->pdata[i]);
  }
  SEND(ASK_PATHS, ask_paths, &ask);
}

static void
send_ask_directory(Clone *clone)
{
  g_autofree char *path = some_path(clone->input);
  Doppel__Engine__AskDirectory ask = DOPPEL__ENGINE__ASK_DIRECTORY__INIT;
  ask.path = bytes_of(path);
  SEND(ASK_DIRECTORY, ask_directory, &ask);
}

static void
send_ask_content(Clone *clone)
{
  Input *input = clone->input;
  Doppel__Wire__ReplicaPullRequest request = DOPPEL__WIRE__REPLICA_PULL_REQUEST__INIT;
  Doppel__Engine__AskContent ask = DOPPEL__ENGINE__ASK_CONTENT__INIT;
  request.path = bytes_of(some_name(input));
  request.have_size = input_below(input, 2) ? input_number(input, 8) : 0;
  request.have_digests.data = (guint8 *)input_blob(input, &request.have_digests.len);
  g_autoptr(GBytes) packed = replica_message_pack(&request.base);
  ask.id = input_below(input, 3);
  ask.mountpoint = input_below(input, 8) == 0;
  ask.more = input_below(input, 70);
  ask.has_request = input_below(input, 4) != 0;
  ask.request.data = (guint8 *)g_bytes_get_data(packed, &ask.request.len);
  SEND(ASK_CONTENT, ask_content, &ask);
}

/* As the tree begins, or something else. */
static void
made_facts(Input *input, Doppel__Wire__ReplicaFacts *facts, const char *path)
{
  static const char *const targets[] = {"../outside", "a", "/"};
  doppel__wire__replica_facts__init(facts);
  gboolean as_it_is = input_below(input, 4) != 0;
  facts->uid = geteuid();
  facts->gid = getegid();
  facts->type = strcmp(path, "d") == 0 || !*path ? REPLICA_DIRECTORY
                : strcmp(path, "l") == 0         ? REPLICA_SYMLINK
                                                 : REPLICA_FILE;
  if (!as_it_is)
    facts->type = input_below(input, REPLICA_BLOCK_DEVICE + 1);
  facts->mode = facts->type == REPLICA_DIRECTORY ? 0755 : facts->type == REPLICA_SYMLINK ? 0777 : 0644;
  facts->size = facts->type != REPLICA_FILE ? 0
                : strcmp(path, "a") == 0    ? strlen("some content")
                : strcmp(path, "d/f") == 0  ? strlen("more")
                                            : input_below(input, 9);
  facts->mtime_ns = as_it_is ? 1000000000005 : (gint64)input_number(input, 8);
  facts->nlink = 1;
  if (facts->type == REPLICA_SYMLINK)
    facts->target = bytes_of(targets[as_it_is ? 0 : input_below(input, G_N_ELEMENTS(targets))]);
}

/* One change, complete in one message, as often as not of a kind that a clone sends. */
static void
send_file_piece(Clone *clone)
{
  Input *input = clone->input;
  Doppel__Wire__ReplicaFacts before, source, after;
  Doppel__Wire__ReplicaEntry entry = DOPPEL__WIRE__REPLICA_ENTRY__INIT, *entries[] = {&entry};
  Doppel__Wire__ReplicaData content = DOPPEL__WIRE__REPLICA_DATA__INIT, *contents[] = {&content};
  Doppel__Wire__ReplicaDeltaPart part = DOPPEL__WIRE__REPLICA_DELTA_PART__INIT;
  Doppel__Engine__FilePiece piece = DOPPEL__ENGINE__FILE_PIECE__INIT;
  const char *path = some_name(input), *from = some_name(input);
  gboolean odd = input_below(input, 4) == 0;
  made_facts(input, &before, path);
  made_facts(input, &source, from);
  made_facts(input, &after, input_below(input, 2) ? path : from);
  entry.change = input_below(input, REPLICA_LINK + 2);
  entry.path = bytes_of(path);
  if (odd ? input_below(input, 2) : entry.change == REPLICA_MOVE || entry.change == REPLICA_LINK)
    entry.from = bytes_of(from);
  entry.before = odd || entry.change == REPLICA_MAKE ? NULL : &before;
  entry.source = entry.change == REPLICA_MOVE ? &source : NULL;
  entry.after = entry.change == REPLICA_REMOVE && !odd ? NULL : &after;
  content.bytes.data = (guint8 *)input_blob(input, &content.bytes.len);
  content.bytes.len = MIN(content.bytes.len, after.size);
  content.zeros = content.bytes.len ? 0 : after.size;
  content.offset = odd ? input_below(input, 4) : 0;
  if (entry.change <= REPLICA_MOVE && entry.after)
    entry.set = input_number(input, 2) | (entry.change == REPLICA_MAKE ? REPLICA_FACT_SIZE : 0);
  entry.set &= odd ? G_MAXUINT : REPLICA_FACT_METADATA | REPLICA_FACT_SIZE;
  if (!odd && after.type != REPLICA_FILE)
    entry.set &= ~REPLICA_FACT_SIZE;
  part.entries = entries;
  part.data = contents;
  part.n_entries = 1;
  part.n_data = entry.set & REPLICA_FACT_SIZE && after.size > 0;
  part.end = input_below(input, 4) != 0;
  part.entry_count = part.n_entries;
  part.data_count = part.n_data;
  g_autoptr(GBytes) packed = replica_message_pack(&part.base);
  piece.bytes.data = (guint8 *)g_bytes_get_data(packed, &piece.bytes.len);
  piece.mountpoint = input_below(input, 16) == 0;
  SEND(FILE_PIECE, file_piece, &piece);
}

/* ---- pages ---- */

/* Most of the time near the program's memory. */
static gsize
made_ranges(Input *input, Doppel__Engine__PageRange *ranges, Doppel__Engine__PageRange **list)
{
  guint count = input_below(input, RANGES_MAX);
  for (guint i = 0; i < count; i++) {
    doppel__engine__page_range__init(list[i] = &ranges[i]);
    gboolean odd = input_below(input, 16) == 0;
    ranges[i].page =
        odd ? input_number(input, 8) : memory_at / PAGE - 2 + input_below(input, MEMORY_PAGES + 4);
    ranges[i].pages = odd ? input_number(input, input_below(input, 2) ? 3 : 8) : 1 + input_below(input, 6);
  }
  return count;
}

static void
send_pull(Clone *clone)
{
  Doppel__Engine__PageRange ranges[RANGES_MAX], *list[RANGES_MAX];
  Doppel__Engine__Pull pull = DOPPEL__ENGINE__PULL__INIT;
  pull.id = input_number(clone->input, 1);
  pull.n_range = made_ranges(clone->input, ranges, list);
  pull.range = list;
  SEND(PULL, pull, &pull);
}

static void
send_end(Clone *clone)
{
  Doppel__Engine__PageRange ranges[RANGES_MAX], *list[RANGES_MAX];
  Doppel__Engine__BlockEnd end = DOPPEL__ENGINE__BLOCK_END__INIT;
  end.n_untouched = made_ranges(clone->input, ranges, list);
  end.untouched = list;
  end.block = input_below(clone->input, 8) ? BLOCK : input_number(clone->input, 8);
  end.file_changes = input_below(clone->input, 4) != 0;
  SEND(BLOCK_END, block_end, &end);
}

static void (*const senders[])(Clone *) = {
    send_raw,        send_hello,      send_ask_paths, send_ask_directory, send_ask_content, send_file_piece,
    send_file_piece, send_file_piece, send_end,       send_pull,          send_pull,
};

/* ---- the Controller ---- */

static gboolean
needs_program(const EngineMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_FORWARD:
  case DOPPEL__ENGINE__MESSAGE__KIND_OUTPUT:
  case DOPPEL__ENGINE__MESSAGE__KIND_CLOSE_PINS:
  case DOPPEL__ENGINE__MESSAGE__KIND_NEED_THREADS:
    return TRUE;
  default:
    return FALSE;
  }
}

/* As for --stats: each byte of a message counts once. */
static void
observe(void *user, const EngineMessage *message, gsize length, gboolean out, guint waiting)
{
  TrafficMeter meter = {0};
  guint64 sum = 0;
  traffic_count(&meter, message, length, out ? TRAFFIC_OUT : TRAFFIC_IN, waiting);
  for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
    sum += traffic_bytes(&meter.now, kind);
  if (sum != length)
    abort();
}

static void
work(Controller *controller)
{
  for (gboolean alive = TRUE; alive && !controller->end;) {
    alive = link_work(controller->link, NULL);
    for (EngineMessage *message; !controller->end && (message = engine_take(controller->link, NULL));) {
      gboolean good = needs_program(message) || controller_message(controller, message, NULL);
      if (message != controller->end)
        engine_message_free(message);
      if (!good)
        return;
    }
  }
}

/* What is to be changed has been asked about before. */
static void
ask_first(Controller *controller)
{
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  ProtobufCBinaryData list[G_N_ELEMENTS(names)];
  Doppel__Engine__AskPaths ask = DOPPEL__ENGINE__ASK_PATHS__INIT;
  EngineMessage message = {PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),
                           DOPPEL__ENGINE__MESSAGE__KIND_ASK_PATHS,
                           {.ask_paths = &ask}};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_ptr_array_add(paths, g_strconcat(world.root_path, names[i], NULL));
    list[i] = bytes_of(paths->pdata[i]);
  }
  ask.path = list;
  ask.n_path = G_N_ELEMENTS(names);
  if (!controller_message(controller, &message, NULL))
    abort();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  int ends[2];
  world_make();
  world_fill();
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return 0;
  Input input = {data, length};
  g_autoptr(Link) other = link_new_local(ends[0]);
  g_autoptr(Link) link = link_new_local(ends[1]);
  g_autoptr(GPtrArray) tasks = g_ptr_array_new();
  RunOptions options = {0};
  make_memory();
  g_autoptr(GPtrArray) threads = g_ptr_array_new();
  MirrorProcess process = {.pid = getpid(),
                           .primary = TRUE,
                           .memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC),
                           .threads = threads};
  MirrorTwin twin = {
      .process = &process, .primary = TRUE, .copies = mirror_copies_new(), .withheld = mirror_ranges_new()};
  for (guint page = input_below(&input, MEMORY_PAGES), pages = 1; page < MEMORY_PAGES; page += 2 * pages++)
    mirror_ranges_add(twin.withheld, memory_at + page * PAGE,
                      memory_at + MIN(page + pages, MEMORY_PAGES) * PAGE);
  guint64 withheld = mirror_ranges_sum(twin.withheld);
  Controller controller = {
      .options = &options, .link = link, .tasks = tasks, .block = BLOCK, .process = &process, .twin = &twin};
  controller.files = device_files_new(link, "local", "/bin/true", TRUE, NULL);
  ProtobufCBinaryData mountpoint = bytes_of(world.root_path);
  Doppel__Engine__Started started = DOPPEL__ENGINE__STARTED__INIT;
  started.n_mountpoint = 1;
  started.mountpoint = &mountpoint;
  if (!controller.files || !session_started(&controller, &started, NULL))
    abort();

  engine_observe(link, observe, NULL);
  Clone clone = {other, &input, 0};
  if (input_below(&input, 8))
    ask_first(&controller);
  for (guint i = 0; i < MESSAGES_MAX && input.left; i++)
    senders[input_below(&input, G_N_ELEMENTS(senders))](&clone);
  shutdown(ends[0], SHUT_WR);
  work(&controller);
  if (controller.end && device_files_ready(controller.files, controller.end->block_end->file_changes, NULL))
    device_files_commit(controller.files, NULL);
  device_files_clear(controller.files);
  world_check();

  if (mirror_ranges_sum(twin.withheld) > withheld)
    abort();
  mirror_copies_free(twin.copies);
  g_array_unref(twin.withheld);
  io_close(&process.memory);
  device_files_free(controller.files);
  mirror_delta_free(controller.incoming);
  engine_message_free(controller.end);
  g_free(controller.features_mask);
  return 0;
}
