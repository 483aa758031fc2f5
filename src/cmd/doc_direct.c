/* Documents without a clone: the room is a process of this device (doc_room.c). */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "cmd/doc.h"

#define LEAVES_S                                                                                             \
  60 /* until a room that leaves without a word is not waited for; it waits 30 s for servers                 \
      */

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

gboolean
doc_direct_begin(gboolean offline, GError **error)
{
  direct = TRUE;
  if (offline)
    return TRUE;
  doc_direct_set_program("/proc/self/exe");
  staying = doc_direct_stay(error);
  return staying >= 0;
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
  if (staying < 0)
    return;
  if (!part(&why)) {
    /* It was killed: another one goes on with what it had kept. */
    g_clear_error(&why);
    io_close(&staying);
    staying = doc_direct_stay(&why);
    if (staying < 0)
      fprintf(stderr, "doppel doc: %s\n", why->message);
    else
      part(NULL);
  }
  io_close(&staying);
}
