/* Documents without a clone: the room is a process of this device (doc_room.c). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/error.h"
#include "clonedoc/room/room_place.h"
#include "cmd/doc.h"

#define TRIES  50
#define TRY_US 100000
#define ANSWERS_S                                                                                            \
  20 /* until a room that says nothing is taken for one that never will; it waits 5 s for servers */
#define LEAVES_S 60 /* ... and 30 */

static gboolean direct;
static Fd staying = -1; /* a conversation that says that somebody is there */

gboolean
doc_is_direct(void)
{
  return direct;
}

const char *
doc_room_called(void)
{
  return direct ? "this device's room of documents" : "the clone";
}

DocCopies *
doc_copies(GError **error)
{
  return doc_known_open(direct, error);
}

/* ---- the room's process ---- */

/* Returns when there is one, or somebody else holds the file. */
static gboolean
start_room(GError **error)
{
  char *words[] = {(char *)"/proc/self/exe", (char *)"doc", (char *)"room", (char *)"--direct", NULL};
  g_autofree char *said = NULL;
  g_autoptr(GError) why = NULL;
  int status;
  if (!g_spawn_sync(NULL, words, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &said, &status, &why))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s cannot be started: %s", doc_room_called(),
                            why->message);
  return g_spawn_check_wait_status(status, NULL) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s cannot be started: %s", doc_room_called(),
                          said && said[0] ? g_strchomp(said) : "it ended without a word");
}

/* "process N holds FOLDER". NULL: none does; the number of one that was killed may be anybody's by now. */
static char *
holder(const char *folder)
{
  g_autofree char *path = g_build_filename(folder, "lock", NULL), *pid = NULL;
  g_auto(Fd) lock = open(path, O_RDONLY | O_CLOEXEC);
  if (lock < 0 || flock(lock, LOCK_SH | LOCK_NB) == 0 || !g_file_get_contents(path, &pid, NULL, NULL))
    return NULL;
  return g_strchomp(pid)[0] ? g_strdup_printf("process %s holds %s", pid, folder) : NULL;
}

int
doc_direct_dial(GError **error)
{
  g_autofree char *place = doc_known_folder(TRUE);
  g_autofree char *folder = g_build_filename(place, "room", NULL);
  for (guint i = 0; i < TRIES; i++) {
    int fd = doc_room_connect(folder);
    if (fd >= 0)
      return fd;
    if (!start_room(error))
      return -1;
    /* One that is about to end holds the file for a moment. */
    if (i > 0)
      g_usleep(TRY_US);
  }
  g_autofree char *held = holder(folder);
  if (held)
    doppel_error_set(error, DOPPEL_ERROR_GONE, "%s, and lets nobody in: end it, and try again", held);
  else
    doppel_error_set(error, DOPPEL_ERROR_GONE, "%s (in %s) ends as soon as it begins", doc_room_called(),
                     folder);
  return -1;
}

/* ---- being there ---- */

static gboolean
on_ready(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  gboolean *ready = data;
  *ready = answer->what_case == DOC_ROOM_TELL(READY);
  return !*ready; /* the rest of the conversation comes in the end */
}

static gboolean
stay(gboolean *ready, GError **error)
{
  const struct timeval patience = {.tv_sec = ANSWERS_S};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.what_case = DOC_ROOM_ASK(STAY);
  question.stay = TRUE;
  staying = doc_direct_dial(error);
  if (staying < 0)
    return FALSE;
  setsockopt(staying, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return doc_ask_over(staying, &question, on_ready, ready, error) || *ready;
}

gboolean
doc_direct_begin(gboolean offline, GError **error)
{
  g_autoptr(GError) why = NULL;
  gboolean ready = FALSE;
  direct = TRUE;
  if (offline)
    return TRUE;
  /* A room may be about to end when it is found; one that stands still is not waited for again. */
  gint64 until = g_get_monotonic_time() + ANSWERS_S * G_USEC_PER_SEC / 2;
  for (guint i = 0; i < 3 && !ready && g_get_monotonic_time() < until; i++) {
    g_clear_error(&why);
    io_close(&staying);
    stay(&ready, &why);
  }
  if (ready)
    return TRUE;
  io_close(&staying);
  g_autofree char *place = doc_known_folder(TRUE);
  g_autofree char *folder = g_build_filename(place, "room", NULL), *held = holder(folder);
  return doppel_error_set(error, why ? (DoppelErrorCode)why->code : DOPPEL_ERROR_GONE,
                          "%s (%s) does not answer: %s", doc_room_called(), held ? held : folder,
                          why ? why->message : "it says nothing");
}

static gboolean
tell_waiting(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  if (answer->what_case == DOC_ROOM_TELL(ROW))
    fprintf(stderr,
            "doppel doc: what was done to \"%s\" is kept on this device, and not with the document's server "
            "(%s). "
            "It goes there with the next \"doppel doc --direct\" that reaches it.\n",
            answer->row->title, answer->row->words[0] ? answer->row->words : "it does not answer in time");
  return TRUE;
}

/* What it says after `ready`, to who has said all. */
static gboolean
part(GError **error)
{
  const struct timeval patience = {.tv_sec = LEAVES_S};
  setsockopt(staying, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  shutdown(staying, SHUT_WR);
  return doc_answers_over(staying, tell_waiting, NULL, error);
}

void
doc_direct_end(void)
{
  g_autoptr(GError) why = NULL;
  gboolean ready = FALSE;
  if (staying < 0)
    return;
  if (!part(&why)) {
    /* It was killed: another one goes on with what it had kept. */
    g_clear_error(&why);
    io_close(&staying);
    if (!stay(&ready, &why) && !ready)
      fprintf(stderr, "doppel doc: %s\n", why->message);
    else
      part(NULL);
  }
  io_close(&staying);
}
