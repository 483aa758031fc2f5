#include "clonedoc/device/api_direct.h"

#include <poll.h>

static GMutex mutex;
static guint documents;
static Fd staying = -1;

void
api_direct_enter(void)
{
  g_mutex_lock(&mutex);
  documents++;
  g_mutex_unlock(&mutex);
}

void
api_direct_leave(void)
{
  g_mutex_lock(&mutex);
  if (--documents == 0)
    io_close(&staying);
  g_mutex_unlock(&mutex);
}

/* The room says nothing on it: where there is something to be read it has ended. */
static gboolean
is_there(void)
{
  struct pollfd fd = {.fd = staying, .events = POLLIN};
  return staying >= 0 && poll(&fd, 1, 0) == 0;
}

static gboolean
stay(GError **error)
{
  g_mutex_lock(&mutex);
  gboolean there = is_there();
  g_mutex_unlock(&mutex);
  if (there)
    return TRUE;
  g_auto(Fd) fd = doc_direct_stay(error);
  if (fd < 0)
    return FALSE;
  g_mutex_lock(&mutex);
  /* Another thread may have been first, and all be closed by now. */
  if (documents > 0 && !is_there()) {
    io_close(&staying);
    staying = io_steal_fd(&fd);
  }
  g_mutex_unlock(&mutex);
  return TRUE;
}

int
api_direct_dial(GError **error)
{
  return stay(error) ? doc_direct_dial(error) : -1;
}
