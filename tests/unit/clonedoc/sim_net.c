#include "sim_net.h"

#define NOTICE_MAX 60 /* steps until an end notices */

typedef struct {
  guint64 due;
  GBytes *bytes; /* NULL: the link was opened */
  guint to;      /* of a post */
} SimMessage;

static void
message_free(gpointer data)
{
  SimMessage *message = data;
  g_clear_pointer(&message->bytes, g_bytes_unref);
  g_free(message);
}

static void
link_free(gpointer data)
{
  SimLink *link = data;
  for (guint end = 0; end < 2; end++)
    g_queue_clear_full(&link->ends[end].coming, message_free);
  g_free(link);
}

void
sim_net_init(SimNet *net, GRand *rand, SimHear hear, SimPost post, gpointer world)
{
  *net = (SimNet){.rand = rand, .hear = hear, .post = post, .world = world};
  net->links = g_ptr_array_new_with_free_func(link_free);
  g_queue_init(&net->posts);
}

void
sim_net_clear(SimNet *net)
{
  g_ptr_array_unref(net->links);
  g_queue_clear_full(&net->posts, message_free);
}

guint
sim_pick(SimNet *net, guint below)
{
  return (guint)g_rand_int_range(net->rand, 0, (gint32)below);
}

gboolean
sim_chance(SimNet *net, guint one_in)
{
  return sim_pick(net, one_in) == 0;
}

static guint
delay(SimNet *net)
{
  return 1 + (sim_chance(net, 12) ? sim_pick(net, 40) : sim_pick(net, 3));
}

static void
put(SimNet *net, SimLink *link, guint to, GBytes *bytes)
{
  SimEnd *end = &link->ends[to];
  SimMessage *message = g_new0(SimMessage, 1);
  end->last_due = MAX(end->last_due, net->now + delay(net));
  *message = (SimMessage){.due = end->last_due, .bytes = bytes ? g_bytes_ref(bytes) : NULL};
  g_queue_push_tail(&end->coming, message);
}

SimLink *
sim_link_open(SimNet *net, guint kind, guint who)
{
  SimLink *link = g_new0(SimLink, 1);
  link->kind = kind;
  link->who = who;
  for (guint end = 0; end < 2; end++) {
    g_queue_init(&link->ends[end].coming);
    link->ends[end].gone_at = G_MAXUINT64;
  }
  g_ptr_array_add(net->links, link);
  put(net, link, 1, NULL);
  return link;
}

void
sim_link_send(SimNet *net, SimLink *link, guint end, GBytes *message)
{
  if (!link->dead)
    put(net, link, !end, message);
}

static void
doom(SimNet *net, SimLink *link, guint end)
{
  SimEnd *doomed = &link->ends[end];
  for (guint lost = sim_pick(net, doomed->coming.length + 1); lost > 0; lost--)
    message_free(g_queue_pop_tail(&doomed->coming));
  doomed->gone_at = MIN(doomed->gone_at, net->now + 1 + sim_pick(net, NOTICE_MAX));
}

void
sim_link_cut(SimNet *net, SimLink *link)
{
  if (link->dead)
    return;
  link->dead = TRUE;
  doom(net, link, 0);
  doom(net, link, 1);
}

void
sim_link_stall(SimNet *net, SimLink *link, guint steps)
{
  SimEnd *end = &link->ends[sim_pick(net, 2)];
  for (GList *each = end->coming.head; each; each = each->next)
    ((SimMessage *)each->data)->due += steps;
  end->last_due = MAX(end->last_due, net->now) + steps;
}

void
sim_link_close(SimNet *net, SimLink *link, guint end)
{
  link->ends[end].closed = TRUE;
  g_queue_clear_full(&link->ends[end].coming, message_free);
  if (link->dead)
    return;
  link->dead = TRUE;
  doom(net, link, !end);
}

static void
hear_one(SimNet *net, SimLink *link, guint end)
{
  SimMessage *message = g_queue_pop_head(&link->ends[end].coming);
  net->hear(net->world, link, end, message->bytes ? SIM_MESSAGE : SIM_OPENED, message->bytes);
  message_free(message);
}

void
sim_link_flush(SimNet *net, SimLink *link, guint end)
{
  while (!link->ends[end].closed && link->ends[end].coming.length > 0)
    hear_one(net, link, end);
}

static void
step_end(SimNet *net, SimLink *link, guint which)
{
  SimEnd *end = &link->ends[which];
  while (!end->closed && end->coming.length > 0 &&
         ((SimMessage *)g_queue_peek_head(&end->coming))->due <= net->now && end->gone_at > net->now)
    hear_one(net, link, which);
  if (end->closed || end->gone_at > net->now)
    return;
  sim_link_close(net, link, which);
  net->hear(net->world, link, which, SIM_GONE, NULL);
}

static void
step_posts(SimNet *net)
{
  for (GList *each = net->posts.head, *next; each; each = next) {
    SimMessage *post = each->data;
    next = each->next;
    if (post->due > net->now)
      continue;
    g_queue_delete_link(&net->posts, each);
    net->post(net->world, post->to, post->bytes);
    message_free(post);
  }
}

void
sim_net_step(SimNet *net)
{
  net->now++;
  guint count = net->links->len, first = count > 0 ? sim_pick(net, count) : 0;
  for (guint i = 0; i < count; i++)
    for (guint end = 0; end < 2; end++)
      step_end(net, net->links->pdata[(first + i) % count], end);
  step_posts(net);
  for (guint i = net->links->len; i > 0; i--) {
    const SimLink *link = net->links->pdata[i - 1];
    if (link->ends[0].closed && link->ends[1].closed)
      g_ptr_array_remove_index(net->links, i - 1);
  }
}

gboolean
sim_net_is_quiet(const SimNet *net)
{
  for (guint i = 0; i < net->links->len; i++) {
    const SimLink *link = net->links->pdata[i];
    if (link->dead || link->ends[0].coming.length > 0 || link->ends[1].coming.length > 0)
      return FALSE;
  }
  return net->posts.length == 0;
}

void
sim_post(SimNet *net, guint to, GBytes *message)
{
  if (sim_chance(net, 8))
    return;
  SimMessage *post = g_new0(SimMessage, 1);
  *post = (SimMessage){.due = net->now + delay(net), .bytes = g_bytes_ref(message), .to = to};
  g_queue_push_tail(&net->posts, post);
}
