#include "c2c/directory_peer_link.h"

#include "base/error.h"
#include "link/link_source.h"

#define AGAIN_MS      500
#define AGAIN_MOST_MS 30000

struct DirectoryPeerLink {
  DirectoryPlace *place;
  const IdentityKey *own;
  DirectoryPeerLinkCallbacks callbacks;
  gpointer data;
  Link *link;
  GSource *source; /* of the link, or of the time until the next attempt */
  gboolean up;
  int again_ms;
};

static gboolean dial(gpointer data);

static void
drop_source(DirectoryPeerLink *link)
{
  if (link->source)
    g_source_destroy(link->source);
  g_clear_pointer(&link->source, g_source_unref);
}

static void
watch(DirectoryPeerLink *link, GSource *source, GSourceFunc function)
{
  drop_source(link);
  link->source = source;
  g_source_set_callback(source, function, link, NULL);
  g_source_attach(source, g_main_context_get_thread_default());
}

/* Half of the time is by chance: directories that lose each other do not all come back in one moment. */
static void
dial_later(DirectoryPeerLink *link)
{
  link->again_ms = MIN(link->again_ms ? 2 * link->again_ms : AGAIN_MS, AGAIN_MOST_MS);
  watch(link, g_timeout_source_new(link->again_ms - g_random_int_range(0, link->again_ms / 2)), dial);
}

/* Calls back last: nothing of the link is needed afterwards. */
static void
lose(DirectoryPeerLink *link, const char *words)
{
  g_autofree char *copy = g_strdup(words);
  g_clear_pointer(&link->link, link_free);
  if (link->up)
    link->again_ms = 0;
  link->up = FALSE;
  dial_later(link);
  link->callbacks.down(link, copy, link->data);
}

static gboolean
work(gpointer data)
{
  DirectoryPeerLink *link = data;
  g_autoptr(GError) error = NULL;
  gboolean alive = link_work(link->link, &error);
  if (!link->up && link_state(link->link) == LINK_UP) {
    link->up = TRUE;
    link->callbacks.up(link, link->data);
  }
  for (;;) {
    g_autoptr(LinkMessage) message = link_take(link->link);
    if (!message)
      break;
    g_autoptr(DirectoryAnswer) answer =
        message->channel == DIRECTORY_CHANNEL
            ? directory_answer_decode(message->data, message->length, error ? NULL : &error)
            : NULL;
    if (!answer) {
      lose(link, error ? error->message : "it sent what is no answer");
      return G_SOURCE_REMOVE;
    }
    link->callbacks.answer(link, answer, link->data);
  }
  if (alive)
    return G_SOURCE_CONTINUE;
  lose(link, error ? error->message : "the connection has ended");
  return G_SOURCE_REMOVE;
}

static gboolean
dial(gpointer data)
{
  DirectoryPeerLink *link = data;
  static const guint8 nobody[16];
  const char *const addresses[] = {link->place->address, NULL};
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  g_autoptr(GError) error = NULL;
  options.resume_ms = 0;
  options.message_max = DIRECTORY_ANSWER_MAX;
  options.compression = -1;
  link->link = link_dial_later(addresses, link->own, &link->place->key, nobody, &options, &error);
  if (link->link)
    watch(link, link_source_new_link(link->link), work);
  else
    lose(link, error->message);
  return G_SOURCE_REMOVE;
}

DirectoryPeerLink *
directory_peer_link_new(const DirectoryPlace *place, const IdentityKey *own,
                        const DirectoryPeerLinkCallbacks *callbacks, gpointer data)
{
  DirectoryPeerLink *link = g_new0(DirectoryPeerLink, 1);
  link->place = directory_place_copy(place);
  link->own = own;
  link->callbacks = *callbacks;
  link->data = data;
  watch(link, g_timeout_source_new(0), dial);
  return link;
}

void
directory_peer_link_free(DirectoryPeerLink *link)
{
  drop_source(link);
  g_clear_pointer(&link->link, link_free);
  directory_place_free(link->place);
  g_free(link);
}

const DirectoryPlace *
directory_peer_link_place(const DirectoryPeerLink *link)
{
  return link->place;
}

void
directory_peer_link_ask(DirectoryPeerLink *link, const DirectoryQuestion *question)
{
  if (!link->up)
    return;
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  gsize length;
  void *data = (void *)g_bytes_get_data(bytes, &length);
  /* Where it fails the link is dead, which its source is about to find. */
  link_send(link->link, DIRECTORY_CHANNEL, &(struct iovec){data, length}, 1, NULL);
}
