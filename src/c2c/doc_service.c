/* "doc", for the owner's devices, and "doc-invite" and "doc-heads", for the clones of others: a stream to the
 * process that keeps the documents. Who is at its other end is said here, as the node has proved it. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/bridge.h"
#include "c2c/doc_place.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"
#include "clonedoc/room/room_call.h"
#include "wire/message.h"

#define PATIENCE_S 30

static const struct {
  const char *name;
  Doppel__Room__Caller__Service service;
} kinds[] = {
    {"doc", DOPPEL__ROOM__CALLER__SERVICE__DEVICE},
    {"doc-invite", DOPPEL__ROOM__CALLER__SERVICE__INVITE},
    {"doc-heads", DOPPEL__ROOM__CALLER__SERVICE__HEADS},
};

static gboolean
introduce(int room, const char *service, const ServicePeer *peer, GError **error)
{
  DocRoomCaller caller = DOPPEL__ROOM__CALLER__INIT;
  g_autofree char *name = service_message_line(peer->name ? peer->name : "", DOC_ROOM_USER_MAX);
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
    if (strcmp(kinds[i].name, service) == 0)
      caller.service = kinds[i].service;
  caller.user = wire_borrow(peer->origin.bytes, sizeof peer->origin.bytes);
  caller.name = name;
  return doc_room_send(room, &caller.base, error);
}

/* Whom a device means its clone finds out: that may take asking directories, which the room does not wait
 * for. Of who is a member already the room knows itself. */
static gboolean
look_up(const ServicePlace *place, Doppel__Room__Change *change, IdentityPublic *origin, IdentityPublic *key,
        char **name, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (change->origin.len > 0 || !change->user[0])
    return TRUE;
  if (!service_node->whois(place, change->user, origin, key, name, &problem)) {
    if (change->role == DOPPEL__ROOM__ROLE__NO_MEMBER)
      return TRUE;
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  change->origin = wire_borrow(origin->bytes, sizeof origin->bytes);
  change->key = wire_borrow(key->bytes, sizeof key->bytes);
  return TRUE;
}

static gboolean
ask_change(int room, const ServicePlace *place, DocRoomQuestion *question, GError **error)
{
  IdentityPublic origin, key;
  g_autofree char *name = NULL;
  Doppel__Room__Change change = *question->change;
  if (!look_up(place, &change, &origin, &key, &name, error))
    return FALSE;
  if (name)
    change.name = name;
  DocRoomQuestion whole = DOPPEL__ROOM__QUESTION__INIT;
  whole.what_case = DOC_ROOM_ASK(CHANGE);
  whole.change = &change;
  return doc_room_send(room, &whole.base, error);
}

static gboolean
pass_on(int fd, int room, const ServicePlace *place, gboolean device, GError **error)
{
  g_autoptr(GBytes) frame = doc_room_receive(fd, device ? DOC_ROOM_FRAME_MAX : DOC_ROOM_PEER_MAX, error);
  gsize length;
  const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
  g_autoptr(DocRoomQuestion) question = device && frame ? doc_room_question_take(data, length, error) : NULL;
  if (!frame || (device && !question))
    return FALSE;
  if (question && question->what_case == DOC_ROOM_ASK(CHANGE))
    return ask_change(room, place, question, error);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  return (io_write_all(room, &prefix, sizeof prefix) && io_write_all(room, data, length)) ||
         doppel_error_set(error, DOPPEL_ERROR_GONE, "the clone does not keep documents now: try again");
}

static void
refuse(int fd, gboolean device, const GError *error)
{
  g_autofree char *words = NULL;
  Doppel__Room__Failed failed;
  doc_room_failed_init(&failed, error, &words);
  if (device) {
    DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
    answer.what_case = DOC_ROOM_TELL(FAILED);
    answer.failed = &failed;
    doc_room_send(fd, &answer.base, NULL);
  } else {
    DocRoomPeerAnswer answer = DOPPEL__ROOM__PEER_ANSWER__INIT;
    answer.failed = &failed;
    doc_room_send(fd, &answer.base, NULL);
  }
}

int
doc_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  gboolean device = strcmp(service, "doc") == 0;
  g_auto(Fd) room = doc_place_connect(place, &error);
  service_message_patience(fd, PATIENCE_S);
  if (room < 0) {
    /* Who closes with a question unread takes the answer from under the asker's eyes. */
    g_autoptr(GBytes) question = doc_room_receive(fd, DOC_ROOM_PEER_MAX, NULL);
    if (question)
      refuse(fd, device, error);
    return service_message_ended(service, error);
  }
  /* A question that makes no sense is answered, and no failure of the service's. */
  if (!introduce(room, service, peer, &error) || !pass_on(fd, room, place, device, &error)) {
    refuse(fd, device, error);
    return 0;
  }
  service_message_patience(fd, 0);
  BridgeCounters counters;
  bridge(fd, room, &counters);
  return 0;
}
