#include "replicator/conversation.h"

#include <unistd.h>

#include "base/error.h"

static gboolean
refused(const Doppel__Sync__Failure *failure, GError **error)
{
  guint code = failure->code <= DOPPEL_ERROR_ABORTED ? failure->code : DOPPEL_ERROR_FAILED;
  g_autofree char *reason = g_utf8_make_valid(failure->reason ? failure->reason : "", -1);
  return doppel_error_set(error, code, "%s", *reason ? reason : "the clone refuses, and does not say why");
}

SyncMessage *
conversation_expect(SyncMessage *message, Doppel__Sync__Message__KindCase kind, GError **error)
{
  g_autoptr(SyncMessage) taken = message;
  if (!taken || taken->kind_case == kind)
    return g_steal_pointer(&taken);
  if (taken->kind_case == DOPPEL__SYNC__MESSAGE__KIND_FAILURE)
    refused(taken->failure, error);
  else
    sync_unexpected(taken, error);
  return NULL;
}

SyncMessage *
conversation_answer(Link *link, Doppel__Sync__Message__KindCase kind, GError **error)
{
  return conversation_expect(sync_wait(link, CONVERSATION_WAIT_MS, error), kind, error);
}

SyncMessage *
conversation_hello(Link *link, gboolean write, GError **error)
{
  Doppel__Sync__Hello hello = DOPPEL__SYNC__HELLO__INIT;
  hello.version = SYNC_VERSION;
  hello.write = write;
  hello.uid = geteuid();
  hello.gid = getegid();
  if (!SYNC_SEND(link, HELLO, hello, &hello, error))
    return NULL;
  g_autoptr(SyncMessage) welcome = conversation_answer(link, DOPPEL__SYNC__MESSAGE__KIND_WELCOME, error);
  if (!welcome && !link_peer(link) && link_counters(link)->messages_received == 0)
    g_prefix_error(error, "the clone cannot be reached: ");
  if (!welcome || welcome->welcome->version == SYNC_VERSION)
    return g_steal_pointer(&welcome);
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                   "the clone's host synchronises by version %u, this device by version %u: install the same "
                   "doppel on both",
                   welcome->welcome->version, SYNC_VERSION);
  return NULL;
}

void
conversation_bye(Link *link)
{
  enum { FAREWELL_MS = 2000 };
  Doppel__Sync__Bye bye = DOPPEL__SYNC__BYE__INIT;
  if (SYNC_SEND(link, BYE, bye, &bye, NULL))
    link_flush(link, FAREWELL_MS, NULL);
}

SyncMessage *
conversation_next(Link *link, guint *taken, gboolean *end, GError **error)
{
  g_autoptr(SyncMessage) message = sync_wait(link, CONVERSATION_WAIT_MS, error);
  *end = FALSE;
  if (!message)
    return NULL;
  if (++*taken >= CONVERSATION_GRANT / 2) {
    Doppel__Sync__More more = DOPPEL__SYNC__MORE__INIT;
    more.grant = *taken;
    *taken = 0;
    if (!SYNC_SEND(link, MORE, more, &more, error))
      return NULL;
  }
  switch (message->kind_case) {
  case DOPPEL__SYNC__MESSAGE__KIND_END:
    *end = TRUE;
    return g_steal_pointer(&message);
  case DOPPEL__SYNC__MESSAGE__KIND_ENTRIES:
  case DOPPEL__SYNC__MESSAGE__KIND_DATA:
    return g_steal_pointer(&message);
  default:
    return conversation_expect(g_steal_pointer(&message), DOPPEL__SYNC__MESSAGE__KIND_END, error);
  }
}
