/* What a device sends to its Augmenter, message after message: made of the input's choices, or as raw bytes.
 * There is no mirror behind it, so that a block gets as far as its first look at the process; there is a
 * layer of files, which what the device tells is brought to, and beside which nothing may change. */
#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "augmenter/paths_private.h"
#include "augmenter/sandbox_private.h"
#include "input.h"
#include "replica/message.h"
#include "replica/path.h"
#include "world.h"

enum { MESSAGES_MAX = 12, TOLD_MAX = 6, BYTES_MAX = 120000, PAGE = 4096, MEMORY_PAGES = 16, RUNS_MAX = 6 };

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

static const char *const names[] = {"/",    "/a",     "/d",     "/d/f", "/l",          "/l/x",
                                    "/new", "/d/new", "/d/d/d", "/..",  "/proc/self/", "a"};

static const char *
some_name(Input *input)
{
  return names[input_below(input, G_N_ELEMENTS(names))];
}

/* ---- the device ---- */

typedef struct {
  Link *link;
  Input *input;
  gsize sent;
} Device;

static GBytes *
made_facts(Input *input)
{
  static const char *const targets[] = {"a", "../outside", "/d", "l", "/", ""};
  ReplicaFacts facts = {.type = input_below(input, REPLICA_BLOCK_DEVICE + 1),
                        .mode = input_number(input, 2) & 07777,
                        .uid = input_below(input, 2),
                        .gid = input_below(input, 2),
                        .size = input_below(input, 4) ? input_below(input, 20) : input_number(input, 8),
                        .mtime_ns = input_number(input, 4),
                        .nlink = 1,
                        .target = (char *)targets[input_below(input, G_N_ELEMENTS(targets))],
                        .hashed = input_below(input, 2)};
  /* Of an empty file, or of none. */
  if (input_below(input, 2))
    crypto_generichash(facts.hash, sizeof facts.hash, NULL, 0, NULL, 0);
  return replica_facts_pack(&facts, input_below(input, 4) ? 0 : input_below(input, 40));
}

static void
told(Input *input, GPtrArray *into, gboolean entries)
{
  for (guint count = input_below(input, TOLD_MAX); count > 0; count--) {
    Doppel__Engine__Told *one = g_new(Doppel__Engine__Told, 1);
    doppel__engine__told__init(one);
    g_autoptr(GBytes) facts = made_facts(input);
    gboolean raw = input_below(input, 6) == 0;
    const char *name = some_name(input) + (entries ? 1 : 0);
    gsize length = strlen(name);
    const guint8 *path = raw ? input_blob(input, &length) : (const guint8 *)name;
    one->path = (ProtobufCBinaryData){length, g_memdup2(path, length)};
    path = g_bytes_get_data(facts, &length);
    if (input_below(input, 6) == 0)
      path = input_blob(input, &length);
    one->facts = (ProtobufCBinaryData){length, g_memdup2(path, length)};
    g_ptr_array_add(into, one);
  }
}

static void
told_free(gpointer data)
{
  doppel__engine__told__free_unpacked(data, NULL);
}

static void
device_send(Device *device, const EngineMessage *message)
{
  device->sent += protobuf_c_message_get_packed_size(&message->base);
  if (device->sent < BYTES_MAX)
    engine_send(device->link, message, NULL);
}
#define SEND(KIND, field, contents)                                                                          \
  device_send(device, &(EngineMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),        \
                                       DOPPEL__ENGINE__MESSAGE__KIND_##KIND,                                 \
                                       {.field = (contents)}})

/* The questions that are out have the ids from 1 to 3. */
static guint64
some_id(Device *device)
{
  return input_below(device->input, 6);
}

static void
send_raw(Device *device)
{
  gsize length;
  const guint8 *bytes = input_blob(device->input, &length);
  device->sent += length;
  if (device->sent < BYTES_MAX)
    link_send(device->link, ENGINE_CHANNEL, &(struct iovec){(void *)bytes, length}, 1, NULL);
}

static void
send_paths(Device *device)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(told_free);
  Doppel__Engine__Paths paths = DOPPEL__ENGINE__PATHS__INIT;
  paths.id = some_id(device);
  told(device->input, list, FALSE);
  paths.n_told = list->len;
  paths.told = (Doppel__Engine__Told **)list->pdata;
  SEND(PATHS, paths, &paths);
}

static void
send_directory(Device *device)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(told_free);
  Doppel__Engine__Directory directory = DOPPEL__ENGINE__DIRECTORY__INIT;
  directory.id = some_id(device);
  told(device->input, list, TRUE);
  directory.n_entry = list->len;
  directory.entry = (Doppel__Engine__Told **)list->pdata;
  directory.last = input_below(device->input, 2);
  directory.has_error = directory.error = input_below(device->input, 4) == 0;
  SEND(DIRECTORY, directory, &directory);
}

static void
send_content(Device *device)
{
  Input *input = device->input;
  guint8 hash[REPLICA_HASH_SIZE];
  Doppel__Wire__ReplicaFacts facts = DOPPEL__WIRE__REPLICA_FACTS__INIT;
  Doppel__Wire__ReplicaPullPart part = DOPPEL__WIRE__REPLICA_PULL_PART__INIT;
  Doppel__Engine__Content content = DOPPEL__ENGINE__CONTENT__INIT;
  gboolean good = input_below(input, 4) != 0;
  part.bytes.data = (guint8 *)input_blob(input, &part.bytes.len);
  part.offset = good ? 0 : input_number(input, 8);
  part.end = input_below(input, 2);
  crypto_generichash(hash, sizeof hash, part.bytes.data, part.bytes.len, NULL, 0);
  facts.type = input_below(input, 4) ? REPLICA_FILE : input_below(input, 9);
  facts.mode = input_number(input, 2) & 07777;
  facts.nlink = 1;
  facts.size = good ? part.bytes.len : input_number(input, input_below(input, 8) ? 3 : 8);
  facts.hash = (ProtobufCBinaryData){sizeof hash, hash};
  part.facts = part.end ? &facts : NULL;
  g_autoptr(GBytes) packed = replica_message_pack(&part.base);
  content.id = some_id(device);
  content.has_part = TRUE;
  content.part.data = (guint8 *)g_bytes_get_data(packed, &content.part.len);
  content.has_again = content.again = input_below(input, 8) == 0;
  content.error = input_below(input, 8) == 0 ? (char *)"gone" : NULL;
  SEND(CONTENT, content, &content);
}

/* Sections that a process has; what hostile ones are taken for, fuzz_delta tells. */
static void
send_delta(Device *device)
{
  static const char layout[] = "400 10 5 2 0 /a\0"
                               "500 80 3 0 0 ";
  Doppel__Engine__Section section = DOPPEL__ENGINE__SECTION__INIT, *list[] = {&section};
  Doppel__Engine__DeltaPiece piece = DOPPEL__ENGINE__DELTA_PIECE__INIT;
  piece.n_section = input_below(device->input, 2);
  piece.section = list;
  piece.last = input_below(device->input, 4) != 0;
  section.kind = MIRROR_SECTION_LAYOUT;
  section.has_bytes = TRUE;
  section.bytes = (ProtobufCBinaryData){sizeof layout, (guint8 *)layout};
  SEND(DELTA, delta, &piece);
}

static void
send_block(Device *device)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(told_free);
  Doppel__Engine__Block block = DOPPEL__ENGINE__BLOCK__INIT;
  block.block = input_below(device->input, 8) ? 1 : input_number(device->input, 8);
  block.thread = input_number(device->input, 4);
  told(device->input, list, FALSE);
  block.n_stale = list->len;
  block.stale = (Doppel__Engine__Told **)list->pdata;
  SEND(BLOCK, block, &block);
}

static void
send_signal(Device *device)
{
  siginfo_t info = {0};
  Doppel__Engine__Signal signal = DOPPEL__ENGINE__SIGNAL__INIT;
  info.si_signo = (gint8)input_number(device->input, 1);
  signal.info = (ProtobufCBinaryData){sizeof info - (input_below(device->input, 8) == 0), (guint8 *)&info};
  signal.has_block = TRUE;
  signal.block = input_below(device->input, 3);
  SEND(SIGNAL, signal, &signal);
}

static void
send_forwarded(Device *device)
{
  Doppel__Engine__Forwarded forwarded = DOPPEL__ENGINE__FORWARDED__INIT;
  forwarded.id = input_below(device->input, 3);
  forwarded.result.data = (guint8 *)input_blob(device->input, &forwarded.result.len);
  SEND(FORWARDED, forwarded, &forwarded);
}

static void
send_threads(Device *device)
{
  gint32 ids[2] = {input_number(device->input, 4), 7};
  Doppel__Engine__Threads threads = DOPPEL__ENGINE__THREADS__INIT;
  threads.thread = ids;
  threads.n_thread = input_below(device->input, 3);
  SEND(THREADS, threads, &threads);
}

static void
send_commit(Device *device)
{
  Doppel__Engine__Commit commit = DOPPEL__ENGINE__COMMIT__INIT;
  SEND(COMMIT, commit, &commit);
}

/* ---- pages ---- */

/* The mirror's memory is our own, with room before and behind that must stay as it is. */
static guint64 memory_at;

static void
make_memory(void)
{
  if (!memory_at) {
    guint8 *memory =
        mmap(NULL, (MEMORY_PAGES + 2) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      abort();
    memory_at = (guintptr)memory + PAGE;
  }
}

static void
check_memory(void)
{
  static const guint8 zeros[PAGE];
  const guint8 *memory = (const guint8 *)(guintptr)memory_at;
  if (memcmp(memory - PAGE, zeros, PAGE) != 0 || memcmp(memory + MEMORY_PAGES * PAGE, zeros, PAGE) != 0)
    abort();
}

static guint64
some_page(Input *input)
{
  return input_below(input, 16) ? memory_at / PAGE - 1 + input_below(input, MEMORY_PAGES + 2)
                                : input_number(input, 8);
}

/* Answers to questions that are about to come, or not: what is far is asked for from its first page on. */
static void
send_pages(Device *device)
{
  static guint8 room[MEMORY_PAGES * PAGE];
  Input *input = device->input;
  Doppel__Engine__Run runs[RUNS_MAX], *list[RUNS_MAX];
  Doppel__Engine__Section section = DOPPEL__ENGINE__SECTION__INIT, *sections[] = {&section};
  Doppel__Engine__DeltaPiece piece = DOPPEL__ENGINE__DELTA_PIECE__INIT;
  Doppel__Engine__Pages pages = DOPPEL__ENGINE__PAGES__INIT;
  gsize length = 0;
  guint64 next = memory_at / PAGE + input_below(input, 3);
  piece.n_run = input_below(input, RUNS_MAX);
  piece.run = list;
  for (guint i = 0; i < piece.n_run; i++) {
    doppel__engine__run__init(list[i] = &runs[i]);
    runs[i].kind = input_below(input, 8) ? input_below(input, 2) : input_below(input, MIRROR_RUN_KINDS + 1);
    runs[i].page = input_below(input, 4) ? next : some_page(input);
    runs[i].pages = 1 + input_below(input, 3);
    next = runs[i].page + runs[i].pages;
    length += runs[i].kind == MIRROR_RUN_DATA || runs[i].kind == MIRROR_RUN_HELD ? runs[i].pages * PAGE : 0;
  }
  memset(room, 'p', sizeof room);
  piece.has_data = length > 0;
  piece.data =
      (ProtobufCBinaryData){input_below(input, 16) ? length : input_number(input, 2) % (sizeof room), room};
  piece.n_section = input_below(input, 32) == 0;
  piece.section = sections;
  piece.last = input_below(input, 4) != 0;
  pages.id = 1 + (input_below(input, 4) == 0);
  pages.piece = &piece;
  SEND(PAGES, pages, &pages);
}

static void (*const senders[])(Device *) = {
    send_raw,       send_paths,     send_directory, send_content, send_paths,
    send_directory, send_content,   send_pages,     send_delta,   send_block,
    send_signal,    send_forwarded, send_threads,   send_commit,  send_pages,
};

/* A block has begun: what of its delta is far is asked for. */
static void
arm(Augmenter *augmenter, Input *input)
{
  g_autofree char *text =
      g_strdup_printf("%" G_GINT64_MODIFIER "x %x 3 0 0 ", memory_at / PAGE, MEMORY_PAGES);
  g_autoptr(MirrorLayout) layout = mirror_layout_unpack((const guint8 *)text, strlen(text) + 1, NULL);
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  if (!layout)
    abort();
  for (guint count = 1 + input_below(input, RUNS_MAX - 1); count > 0; count--) {
    MirrorRun run = {some_page(input) * PAGE, (1 + input_below(input, 4)) * PAGE,
                     input_below(input, 4) ? MIRROR_RUN_FAR : input_below(input, MIRROR_RUN_KINDS), 0};
    if (run.address && run.address + run.length > run.address) /* as the decoder sees to */
      g_array_append_val(delta->runs, run);
    g_byte_array_set_size(delta->data, delta->data->len + mirror_run_bytes(&run));
  }
  memset((void *)(guintptr)memory_at, 0, MEMORY_PAGES * PAGE);
  mirror_pager_arm(augmenter->twin->pager, layout, delta, NULL);
  check_memory();
}

/* ---- the Augmenter ---- */

static HeldCall *
some_call(void)
{
  HeldCall *held = g_new0(HeldCall, 1);
  held->state = CALL_FORWARDED;
  held->id = 1;
  held->tid = G_MAXINT32; /* nobody */
  held->row = syscall_row_named("read");
  held->call = pincall_new(held->row);
  held->call->args[1] = 1;
  held->call->args[2] = held->call->asked = 100;
  PinRegion region = {.arg = 1, .part = PIN_PART_WHOLE, .room = 100, .address = 4096};
  g_array_append_val(held->call->regions, region);
  return held;
}

static void
ask(Paths *paths)
{
  g_autofree char *reason = NULL;
  PathsAsk question = {.path = "/a", .contents = TRUE};
  question_path(paths, "/a", &question, &reason);
  question_directory(paths, "/d", &reason);
  pull_start(paths, paths->layers->pdata[0], "/a", "a", &reason);
}

static Doppel__Engine__Told *
truth(const char *path)
{
  g_auto(ReplicaFacts) facts = {0};
  Doppel__Engine__Told *told_first = g_new(Doppel__Engine__Told, 1);
  int failure = replica_facts_read(world.root, path + 1, 0, NULL, &facts);
  g_autoptr(GBytes) packed = replica_facts_pack(&facts, failure);
  doppel__engine__told__init(told_first);
  told_first->path = (ProtobufCBinaryData){strlen(path), (guint8 *)g_strdup(path)};
  told_first->facts.data = g_bytes_unref_to_data(g_steal_pointer(&packed), &told_first->facts.len);
  return told_first;
}

/* The tree that the device's answers are for is that of the one layer. */
static Paths *
make_paths(Augmenter *augmenter, SandboxLayer *layer)
{
  Doppel__Engine__Start start = DOPPEL__ENGINE__START__INIT;
  g_autoptr(GPtrArray) first = g_ptr_array_new_with_free_func(told_free);
  g_ptr_array_add(first, truth("/"));
  g_ptr_array_add(first, truth("/d"));
  start.n_told = first->len;
  start.told = (Doppel__Engine__Told **)first->pdata;
  g_auto(Fd) here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  layer->mountpoint = world.root_path;
  Paths *paths = paths_new(augmenter, &start, NULL);
  if (!paths || fchdir(here) < 0)
    abort();
  replica_path_set_self("/proc/self");
  layer->mountpoint = (char *)"/";
  io_close(&paths->root);
  paths->root = fcntl(world.root, F_DUPFD_CLOEXEC, 0);
  return paths;
}

static void
work(Augmenter *augmenter)
{
  for (gboolean alive = TRUE; alive && !augmenter->over;) {
    alive = link_work(augmenter->link, NULL);
    for (;;) {
      g_autoptr(GError) error = NULL;
      g_autoptr(EngineMessage) message = g_queue_pop_head(augmenter->postponed);
      if (!message)
        message = engine_take(augmenter->link, &error);
      if (error)
        return;
      if (!message)
        break;
      if (!augmenter_message(augmenter, message, NULL) || augmenter->over)
        return;
    }
  }
}

static void
bring(Augmenter *augmenter)
{
  for (guint i = 0; i < G_N_ELEMENTS(names) - 1; i++) {
    g_auto(PathsPlace) place = {0};
    g_autofree char *reason = NULL;
    walk_path(augmenter->paths, 0, names[i], i % 2, FRESH_WHOLE, &place, &reason);
  }
}

static void
be_quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer unused)
{
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  int ends[2];
  g_log_set_default_handler(be_quiet, NULL);
  world_make();
  world_fill();
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return 0;
  Input input = {data, length};
  g_autoptr(Link) other = link_new_local(ends[0]);
  g_autoptr(Link) link = link_new_local(ends[1]);
  g_autoptr(GPtrArray) layers = g_ptr_array_new(), holes = g_ptr_array_new(), threads = g_ptr_array_new();
  g_autoptr(GHashTable) pins = g_hash_table_new(NULL, NULL), sent_back = g_hash_table_new(NULL, NULL);
  SandboxLayer layer = {.upper_fd = world.upper, .lower_fd = world.lower};
  struct SandboxPrivate private = {.holes = holes};
  Sandbox sandbox = {
      .proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), .layers = layers, .private = &private};
  MirrorProcess process = {.pid = G_MAXINT32,
                           .own_pid = 2,
                           .directory = -1,
                           .memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC),
                           .pagemap = -1,
                           .maps = -1,
                           .threads = threads};
  MirrorTwin twin = {.process = &process, .copies = mirror_copies_new(), .withheld = mirror_ranges_new()};
  AugmenterSession session = {.root = "/", .control_fd = input_below(&input, 2) ? -1 : G_MAXINT32};
  Augmenter augmenter = {.link = link,
                         .session = &session,
                         .sandbox = &sandbox,
                         .process = &process,
                         .twin = &twin,
                         .control = -1,
                         .listener = -1,
                         .children = -1,
                         .phase = MIRROR_READY,
                         .postponed = g_queue_new(),
                         .held = g_ptr_array_new_with_free_func((GDestroyNotify)held_call_free),
                         .pins = pins,
                         .early = g_array_new(FALSE, FALSE, sizeof(QueuedSignal)),
                         .sent_back = sent_back};
  g_ptr_array_add(layers, &layer);
  g_ptr_array_add(augmenter.held, some_call());
  augmenter.paths = make_paths(&augmenter, &layer);
  ask(augmenter.paths);
  make_memory();
  /* Pages cannot come on demand by this way to track: all that is far is asked for at once. */
  twin.tracker = mirror_tracker_new(&process, MIRROR_TRACK_HASH, -1, NULL);
  demand_begin(&augmenter);

  Device device = {other, &input, 0};
  for (guint i = 0; i < MESSAGES_MAX && input.left; i++)
    senders[input_below(&input, G_N_ELEMENTS(senders))](&device);
  shutdown(ends[0], SHUT_WR);
  if (input_below(&input, 2))
    arm(&augmenter, &input);
  work(&augmenter);
  bring(&augmenter);
  world_check();

  mirror_pager_free(twin.pager);
  mirror_tracker_free(twin.tracker);
  mirror_copies_free(twin.copies);
  g_array_unref(twin.withheld);
  io_close(&process.memory);
  paths_free(augmenter.paths);
  mirror_delta_free(augmenter.incoming);
  mirror_layout_free(twin.layout);
  g_clear_pointer(&twin.agreed, g_hash_table_unref);
  g_queue_free_full(augmenter.postponed, (GDestroyNotify)engine_message_free);
  g_ptr_array_unref(augmenter.held);
  g_array_unref(augmenter.early);
  io_close(&sandbox.proc_fd);
  return 0;
}
