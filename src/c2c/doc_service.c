/* "doc", for the owner's devices, and "doc-invite" and "doc-heads", for the clones of others: a stream to the
 * process that keeps the documents. Who is at its other end is said here, as the node has proved it. The
 * last is open to everybody: who is a member of what the room knows. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/line.h"
#include "c2c/bridge.h"
#include "c2c/doc_place.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"
#include "clonedoc/room/room_call.h"
#include "wire/message.h"

#define PATIENCE_S 30
#define PEER_S     10                   /* of silence, of another clone or of the room */
#define REFUSED_US (1 * G_USEC_PER_SEC) /* until who is refused hears it: so often can strangers ask */

static const struct {
  const char *name;
  Doppel__Room__Caller__Service service;
} kinds[] = {
    {"doc", DOPPEL__ROOM__CALLER__SERVICE__DEVICE},
    {"doc-invite", DOPPEL__ROOM__CALLER__SERVICE__INVITE},
    {"doc-heads", DOPPEL__ROOM__CALLER__SERVICE__HEADS},
};

/* Who asks for what, and where. */
typedef struct {
  const char *service;
  const ServicePeer *peer;
  const ServicePlace *place;
} Caller;

static gboolean
introduce(int room, const char *service, const ServicePeer *peer, GError **error)
{
  DocRoomCaller caller = DOPPEL__ROOM__CALLER__INIT;
  g_autofree char *name = line_of(peer->name ? peer->name : "", DOC_ROOM_USER_MAX);
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
    if (strcmp(kinds[i].name, service) == 0)
      caller.service = kinds[i].service;
  caller.user = wire_borrow(peer->origin.bytes, sizeof peer->origin.bytes);
  caller.name = name;
  return wire_stream_send(room, &caller.base, error);
}

/* Whom a device means its clone finds out: that may take asking directories, which the room does not wait
 * for. */
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
  return wire_stream_send(room, &whole.base, error);
}

static gboolean
pass_on(int room, GBytes *frame, GError **error)
{
  return wire_stream_send_packed(room, frame, NULL) ||
         doppel_error_set(error, DOPPEL_ERROR_GONE, "the clone does not keep documents now: try again");
}

static gboolean
is_not_found(GBytes *frame)
{
  gsize length;
  const void *data = g_bytes_get_data(frame, &length);
  g_autoptr(DocRoomAnswer) answer = doc_room_answer_take(data, length, NULL);
  return answer && answer->what_case == DOC_ROOM_TELL(FAILED) &&
         answer->failed->why == DOC_ROOM_WHY(NOT_FOUND);
}

/* Who is to be removed is a member whom the room calls so, whoever else may have that name in a directory.
 * Only where there is none a directory is asked: it may know the member by another name. */
static gboolean
ask_removal(int fd, Fd *room, const Caller *caller, GBytes *frame, DocRoomQuestion *question, GError **error)
{
  if (!pass_on(*room, frame, error))
    return FALSE;
  service_message_patience(*room, PATIENCE_S);
  g_autoptr(GBytes) answer = wire_stream_receive(*room, DOC_ROOM_FRAME_MAX, error);
  service_message_patience(*room, 0);
  if (!answer || !is_not_found(answer))
    return answer && pass_on(fd, answer, error);
  io_close(room);
  *room = doc_place_connect(caller->place, error);
  return *room >= 0 && introduce(*room, caller->service, caller->peer, error) &&
         ask_change(*room, caller->place, question, error);
}

static gboolean
pass_question(int fd, Fd *room, const Caller *caller, GError **error)
{
  g_autoptr(GBytes) frame = wire_stream_receive(fd, DOC_ROOM_FRAME_MAX, error);
  gsize length = 0;
  const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
  g_autoptr(DocRoomQuestion) question = frame ? doc_room_question_take(data, length, error) : NULL;
  if (!question)
    return FALSE;
  if (question->what_case != DOC_ROOM_ASK(CHANGE))
    return pass_on(*room, frame, error);
  if (question->change->role == DOPPEL__ROOM__ROLE__NO_MEMBER && question->change->origin.len == 0)
    return ask_removal(fd, room, caller, frame, question, error);
  return ask_change(*room, caller->place, question, error);
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
    wire_stream_send(fd, &answer.base, NULL);
  } else {
    DocRoomPeerAnswer answer = DOPPEL__ROOM__PEER_ANSWER__INIT;
    answer.failed = &failed;
    wire_stream_send(fd, &answer.base, NULL);
  }
}

static int
serve_device(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) room = doc_place_connect(place, &error);
  service_message_patience(fd, PATIENCE_S);
  if (room < 0) {
    /* Who closes with a question unread takes the answer from under the asker's eyes. */
    g_autoptr(GBytes) question = wire_stream_receive(fd, DOC_ROOM_FRAME_MAX, NULL);
    if (question)
      refuse(fd, TRUE, error);
    return service_message_ended(service, error);
  }
  /* A question that makes no sense is answered, and no failure of the service's. */
  const Caller caller = {service, peer, place};
  if (!introduce(room, service, peer, &error) || !pass_question(fd, &room, &caller, &error)) {
    refuse(fd, TRUE, error);
    return 0;
  }
  service_message_patience(fd, 0);
  BridgeCounters counters;
  bridge(fd, room, &counters);
  return 0;
}

static GBytes *
ask_room(GBytes *message, const char *service, const ServicePeer *peer, const ServicePlace *place,
         GError **error)
{
  g_auto(Fd) room = doc_place_connect(place, error);
  if (room < 0)
    return NULL;
  service_message_patience(room, PEER_S);
  if (!introduce(room, service, peer, error))
    return NULL;
  /* What is too long for who asks is refused before all of it is there: the room says so. */
  g_autoptr(GError) unread = NULL;
  gboolean passed = pass_on(room, message, &unread);
  GBytes *answer = wire_stream_receive(room, DOC_ROOM_PEER_MAX, passed ? error : NULL);
  if (!answer && !passed)
    g_propagate_error(error, g_steal_pointer(&unread));
  return answer;
}

static gboolean
is_refusal(GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocRoomPeerAnswer) answer = doc_room_peer_answer_take(data, length, NULL);
  return !answer || answer->failed;
}

/* The room hears of another clone when all of its message is here: it has a place for so many only, which
 * who says nothing does not take. */
static int
serve_peer(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  service_message_patience(fd, PEER_S);
  g_autoptr(GBytes) message = wire_stream_receive(fd, DOC_ROOM_PEER_MAX, &error);
  g_autoptr(GBytes) answer = message ? ask_room(message, service, peer, place, &error) : NULL;
  if (!answer || is_refusal(answer))
    g_usleep(REFUSED_US);
  if (answer)
    pass_on(fd, answer, NULL);
  else
    refuse(fd, FALSE, error);
  return 0;
}

int
doc_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  return strcmp(service, "doc") == 0 ? serve_device(fd, service, peer, place)
                                     : serve_peer(fd, service, peer, place);
}
