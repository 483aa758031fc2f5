/* doppel doc room: this device's room of documents, while one of its commands with --direct runs. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/room.h"
#include "clonedoc/room/room_place.h"
#include "cmd/detach.h"
#include "cmd/doc.h"

#define FIRST_MS 10000 /* until whoever has started it says something */
#define ACCEPTS  16

typedef struct {
  char *folder;
  DocRoom *room;
  IdentityKey *key;
  Fd lock, listener, parent;
  gint64 first_by; /* CLOCK_MONOTONIC ns; 0: somebody came */
} Place;

static void
place_clear(Place *place)
{
  g_clear_pointer(&place->room, doc_room_free);
  g_clear_pointer(&place->key, identity_key_free);
  g_free(place->folder);
  io_close(&place->listener);
  if (place->lock >= 0)
    (void)!ftruncate(place->lock, 0);
  io_close(&place->lock);
  io_close(&place->parent);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

/* FALSE without an error: another process has it. */
static gboolean
lock(Place *place, GError **error)
{
  g_autofree char *path = g_build_filename(place->folder, "lock", NULL),
                  *pid = g_strdup_printf("%d\n", getpid());
  g_mkdir_with_parents(place->folder, 0700);
  place->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (place->lock < 0)
    return doppel_error_errno(error, "cannot open %s", path);
  if (flock(place->lock, LOCK_EX | LOCK_NB) < 0) {
    io_close(&place->lock);
    return FALSE;
  }
  (void)!ftruncate(place->lock, 0);
  io_write_all(place->lock, pid, strlen(pid)); /* for people */
  return TRUE;
}

static gboolean
open_room(Place *place, GError **error)
{
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  g_autofree char *path = g_build_filename(place->folder, "room.db", NULL),
                  *key = g_build_filename(place->folder, "member.key", NULL);
  place->key = identity_key_load_or_create(key, error);
  if (!place->key)
    return FALSE;
  options.path = path;
  options.key = place->key;
  options.user = *identity_key_public(place->key); /* this member is known by that key alone */
  options.beside = TRUE;
  place->room = doc_room_open(&options, error);
  place->listener = place->room ? doc_room_listen(place->folder, error) : -1;
  return place->listener >= 0;
}

/* Nobody brings anything to other members: people pass invitations on, and heads stay here. */
static void
refuse_errands(DocRoom *room)
{
  for (;;) {
    g_autoptr(DocErrand) errand = doc_room_next_errand(room);
    if (!errand)
      return;
    gboolean invites = g_str_equal(errand->service, "doc-invite");
    g_autoptr(GError) why = g_error_new_literal(
        DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED,
        invites ? "give them the invitation, which \"doppel doc invite\" prints once more"
                : "not compared with this member: heads are exchanged between clones only");
    doc_room_errand_done(room, errand->id, NULL, why);
  }
}

static guint
let_in(Place *place)
{
  guint count = 0;
  for (int fd; count < ACCEPTS && (fd = doc_room_accept(place->listener)) >= 0; count++)
    doc_room_converse(place->room, fd, DOC_ROOM_DEVICE, NULL, NULL);
  if (count > 0)
    place->first_by = 0;
  return count;
}

/* Whoever has found the room before it was hidden is let in; then it is there again. */
static gboolean
may_end(Place *place, GError **error)
{
  if (doc_room_talks(place->room) > 0 || (place->first_by > 0 && clock_now_ns() < place->first_by))
    return FALSE;
  doc_room_hide(place->folder);
  if (let_in(place) == 0)
    return TRUE;
  io_close(&place->listener);
  place->listener = doc_room_listen(place->folder, error);
  return place->listener < 0;
}

static gboolean
serve(Place *place, GError **error)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  GError *problem = NULL;
  place->first_by = clock_now_ns() + FIRST_MS * G_GINT64_CONSTANT(1000000);
  while (doc_room_work(place->room, &problem)) {
    refuse_errands(place->room);
    if (may_end(place, &problem))
      break;
    int timeout_ms = place->first_by > 0 ? clock_left_ms(place->first_by) : -1;
    struct pollfd own = {.fd = place->listener, .events = POLLIN};
    g_array_set_size(fds, 0);
    g_array_append_val(fds, own);
    doc_room_prepare(place->room, fds, &timeout_ms);
    poll((struct pollfd *)fds->data, fds->len, timeout_ms);
    let_in(place);
  }
  if (problem)
    g_propagate_error(error, problem);
  return !problem;
}

gboolean
doc_room(char **words, const DocOptions *options, GError **error)
{
  g_auto(Place) place = {.lock = -1, .listener = -1, .parent = -1};
  g_autofree char *state = doc_known_folder(TRUE);
  g_autoptr(GError) problem = NULL;
  if (!options->direct)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "the commands with --direct start \"room\" by themselves");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  place.folder = g_build_filename(state, "room", NULL);
  place.parent = detach();
  prctl(PR_SET_NAME, "doppel-doc-room");
  signal(SIGPIPE, SIG_IGN);
  if (!lock(&place, &problem)) {
    if (!problem) {
      detach_done(&place.parent); /* as good: that one is found, or about to end */
      return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  if (!open_room(&place, error))
    return FALSE;
  detach_done(&place.parent);
  return serve(&place, error);
}
