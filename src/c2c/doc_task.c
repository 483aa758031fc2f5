/* The process of the clone that keeps its owner's documents (clonedoc/room). Its room never waits; what is to
 * be told to other members' clones is carried there by threads, which do. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/doc_place.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"
#include "clonedoc/room/room.h"
#include "clonedoc/room/room_place.h"

#define WORKERS_MOST   16
#define PATIENCE_US    (60 * G_USEC_PER_SEC) /* for all that is said with another clone */
#define INTRODUCTION_S 2                     /* for a service of the same clone to say whom it brings */
#define ACCEPTS        16
#define UNNAMED_S      5 /* between two looks whether the clone has a name */

typedef struct {
  const ServicePlace *place;
  DocRoom *room;
  int listener, done; /* done: eventfd, an errand has ended */
  GThreadPool *pool;
  GAsyncQueue *ended; /* of Errand */
} Task;

typedef struct {
  DocErrand *errand;
  GBytes *answer;
  GError *why;
} Errand;

static void
carry(gpointer data, gpointer user_data)
{
  Errand *errand = data;
  Task *task = user_data;
  g_autofree char *key = identity_public_to_text(&errand->errand->user);
  g_autofree char *user = g_strconcat("key:", key, NULL);
  g_auto(Fd) fd = service_node->dial(task->place, user, errand->errand->service, &errand->why);
  if (fd >= 0)
    errand->answer = wire_stream_exchange(fd, errand->errand->message, DOC_ROOM_PEER_MAX,
                                          g_get_monotonic_time() + PATIENCE_US, &errand->why);
  g_async_queue_push(task->ended, errand);
  eventfd_write(task->done, 1);
}

static void
begin_errands(Task *task)
{
  for (DocErrand *errand; (errand = doc_room_next_errand(task->room));) {
    Errand *carried = g_new0(Errand, 1);
    carried->errand = errand;
    g_thread_pool_push(task->pool, carried, NULL);
  }
}

static void
end_errands(Task *task)
{
  eventfd_t count;
  eventfd_read(task->done, &count);
  for (Errand *errand; (errand = g_async_queue_try_pop(task->ended));) {
    doc_room_errand_done(task->room, errand->errand->id, errand->answer, errand->why);
    doc_errand_free(errand->errand);
    g_clear_pointer(&errand->answer, g_bytes_unref);
    g_clear_error(&errand->why);
    g_free(errand);
  }
}

/* A service of this clone says whom it brings before anything of theirs. */
static void
let_in(Task *task)
{
  for (guint i = 0; i < ACCEPTS; i++) {
    g_auto(Fd) fd = doc_room_accept(task->listener);
    if (fd < 0)
      return;
    service_message_patience(fd, INTRODUCTION_S);
    g_autoptr(GBytes) frame = wire_stream_receive(fd, 2 * DOC_ROOM_USER_MAX, NULL);
    gsize length;
    const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
    g_autoptr(DocRoomCaller) caller = frame ? doc_room_caller_take(data, length, NULL) : NULL;
    if (!caller)
      continue;
    IdentityPublic user;
    memcpy(user.bytes, caller->user.data, sizeof user.bytes);
    doc_room_converse(task->room, io_steal_fd(&fd), (DocRoomService)caller->service, &user, caller->name);
  }
}

static gboolean
serve(Task *task, GError **error)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  for (;;) {
    if (!doc_room_work(task->room, error))
      return FALSE;
    begin_errands(task);
    int timeout_ms = -1;
    struct pollfd own[] = {{.fd = task->listener, .events = POLLIN}, {.fd = task->done, .events = POLLIN}};
    g_array_set_size(fds, 0);
    g_array_append_vals(fds, own, G_N_ELEMENTS(own));
    doc_room_prepare(task->room, fds, &timeout_ms);
    poll((struct pollfd *)fds->data, fds->len, timeout_ms);
    end_errands(task);
    let_in(task);
  }
}

static gboolean
run(Task *task, GError **error)
{
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  g_autofree char *folder = doc_place_folder(task->place),
                  *path = g_build_filename(folder, "documents.db", NULL);
  /* Documents have their members' names, so a clone without one has none. */
  while (!service_node->own(task->place, &options.user, NULL))
    sleep(UNNAMED_S);
  g_mkdir_with_parents(folder, 0700);
  options.path = path;
  options.key = task->place->key;
  task->room = doc_room_open(&options, error);
  task->listener = task->room ? doc_room_listen(folder, error) : -1;
  return task->listener >= 0 && serve(task, error);
}

int
doc_task_run(const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  Task task = {.place = place, .listener = -1, .done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!place->key)
    for (;;)
      pause(); /* a clone without a key has no documents */
  task.ended = g_async_queue_new();
  task.pool = g_thread_pool_new(carry, &task, WORKERS_MOST, FALSE, NULL);
  run(&task, &error);
  fprintf(stderr, "docs: %s\n", error ? error->message : "it ended");
  _exit(1); /* threads may still carry something, which is carried again */
}
