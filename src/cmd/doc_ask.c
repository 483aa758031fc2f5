/* Questions to the clone about documents. */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "cmd/doc.h"
#include "cmd/friends.h"

int
doc_dial(GError **error)
{
  return doc_is_direct() ? doc_direct_dial(error) : friends_dial(NULL, "doc", error);
}

/* ---- a word to who waits ---- */

typedef struct {
  GThread *thread;
  GMutex mutex;
  GCond over;
  gboolean is_over;
} Waiting;

static char now[128]; /* empty: nothing but that it waits */
static GMutex now_mutex;

void
doc_ask_now(const char *words)
{
  g_mutex_lock(&now_mutex);
  g_strlcpy(now, words, sizeof now);
  g_mutex_unlock(&now_mutex);
}

static gpointer
tell(gpointer data)
{
  Waiting *waiting = data;
  gboolean shown = FALSE;
  gint64 begun = g_get_monotonic_time(), next = begun;
  g_mutex_lock(&waiting->mutex);
  while (!waiting->is_over) {
    next += G_USEC_PER_SEC;
    if (g_cond_wait_until(&waiting->over, &waiting->mutex, next) || waiting->is_over)
      continue;
    shown = TRUE;
    g_mutex_lock(&now_mutex);
    g_autofree char *words = now[0] ? g_strdup(now) : g_strconcat("waiting for ", doc_room_called(), NULL);
    g_mutex_unlock(&now_mutex);
    fprintf(stderr, "\r%s, %u s \033[K", words, (guint)((next - begun) / G_USEC_PER_SEC));
  }
  g_mutex_unlock(&waiting->mutex);
  if (shown)
    fputs("\r\033[K", stderr);
  return NULL;
}

static void
waiting_begin(Waiting *waiting)
{
  *waiting = (Waiting){0};
  g_mutex_init(&waiting->mutex);
  g_cond_init(&waiting->over);
  if (isatty(STDERR_FILENO))
    waiting->thread = g_thread_new("waiting", tell, waiting);
}

static void
waiting_end(Waiting *waiting)
{
  g_mutex_lock(&waiting->mutex);
  waiting->is_over = TRUE;
  g_cond_signal(&waiting->over);
  g_mutex_unlock(&waiting->mutex);
  if (waiting->thread)
    g_thread_join(waiting->thread);
  g_mutex_clear(&waiting->mutex);
  g_cond_clear(&waiting->over);
}

/* ---- */

gboolean
doc_ask(DocRoomQuestion *question, DocEach each, gpointer data, GError **error)
{
  Waiting waiting;
  waiting_begin(&waiting);
  g_auto(Fd) fd = doc_dial(error);
  gboolean good = fd >= 0 && doc_ask_over(fd, question, each, data, error);
  waiting_end(&waiting);
  return good;
}

static gboolean
keep_row(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  return answer->what_case != DOC_ROOM_TELL(ROW) || doc_known_keep(data, answer->row, error);
}

gboolean
doc_ask_row(DocCopies *copies, DocRoomQuestion *question, GError **error)
{
  return doc_ask(question, keep_row, copies, error);
}
