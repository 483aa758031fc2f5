/* This device's own room: found, started, and kept for a while. */
#include "clonedoc/device/direct.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/error.h"
#include "clonedoc/room/room_place.h"

#define CALLED "this device's room of documents"

#define TRIES      50
#define TRY_US     100000
#define STAYS      3
#define QUESTION_S 120
/* Until a room that says nothing is taken for one that never will; it waits 5 s for servers. */
#define ANSWERS_S 20

static const char *program = "doppel";

void
doc_direct_set_program(const char *named)
{
  program = named;
}

static char *
room_folder(void)
{
  g_autofree char *place = doc_known_folder(TRUE);
  return g_build_filename(place, "room", NULL);
}

/* ---- the process ---- */

/* Returns when there is one, or somebody else holds the file. */
static gboolean
start_room(GError **error)
{
  char *words[] = {(char *)program, (char *)"doc", (char *)"room", (char *)"--direct", NULL};
  g_autofree char *said = NULL;
  g_autoptr(GError) why = NULL;
  int status;
  if (!g_spawn_sync(NULL, words, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                    &said, &status, &why))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, CALLED " cannot be started: %s", why->message);
  return g_spawn_check_wait_status(status, NULL) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, CALLED " cannot be started: %s",
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
  g_autofree char *folder = room_folder();
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
    doppel_error_set(error, DOPPEL_ERROR_GONE, CALLED " (in %s) ends as soon as it begins", folder);
  return -1;
}

gboolean
doc_direct_ask(DocRoomQuestion *question, DocEach each, gpointer data, GError **error)
{
  const struct timeval patience = {.tv_sec = QUESTION_S};
  g_auto(Fd) fd = doc_direct_dial(error);
  if (fd < 0)
    return FALSE;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return doc_ask_over(fd, question, each, data, error);
}

/* ---- being there ---- */

static gboolean
on_ready(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  gboolean *ready = data;
  *ready = answer->what_case == DOC_ROOM_TELL(READY);
  return !*ready; /* the rest of the conversation comes in the end */
}

/* -1: it said nothing, or not that. */
static int
stay(GError **error)
{
  const struct timeval patience = {.tv_sec = ANSWERS_S};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  gboolean ready = FALSE;
  question.what_case = DOC_ROOM_ASK(STAY);
  question.stay = TRUE;
  g_auto(Fd) fd = doc_direct_dial(error);
  if (fd < 0)
    return -1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  doc_ask_over(fd, &question, on_ready, &ready, error);
  return ready ? io_steal_fd(&fd) : -1;
}

int
doc_direct_stay(GError **error)
{
  g_autoptr(GError) why = NULL;
  /* A room may be about to end when it is found; one that stands still is not waited for again. */
  gint64 until = g_get_monotonic_time() + ANSWERS_S * G_USEC_PER_SEC / 2;
  for (guint i = 0; i < STAYS && g_get_monotonic_time() < until; i++) {
    g_clear_error(&why);
    int fd = stay(&why);
    if (fd >= 0)
      return fd;
  }
  g_autofree char *folder = room_folder(), *held = holder(folder);
  doppel_error_set(error, why ? (DoppelErrorCode)why->code : DOPPEL_ERROR_GONE,
                   CALLED " (%s) does not answer: %s", held ? held : folder,
                   why ? why->message : "it says nothing");
  return -1;
}
