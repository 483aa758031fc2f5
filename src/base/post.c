#include "base/post.h"

struct Post {
  GMutex lock;
  GQueue letters;
  GSource *source;
  void (*take)(gpointer letter, gpointer owner);
  GDestroyNotify drop;
  gpointer owner;
  gint closed; /* atomic */
};

static gpointer
next(Post *post)
{
  g_mutex_lock(&post->lock);
  gpointer letter = g_queue_pop_head(&post->letters);
  g_mutex_unlock(&post->lock);
  return letter;
}

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
  return callback(data);
}

/* Those that are there now: what comes meanwhile waits its turn among the context's other sources. */
static gboolean
deliver(gpointer data)
{
  Post *post = data;
  g_source_set_ready_time(post->source, -1);
  g_mutex_lock(&post->lock);
  guint count = post->letters.length;
  g_mutex_unlock(&post->lock);
  for (; count > 0 && !post_is_closed(post); count--)
    post->take(next(post), post->owner);
  return G_SOURCE_CONTINUE;
}

static void
let_go(gpointer data)
{
  Post *post = data;
  g_source_unref(post->source);
  g_mutex_clear(&post->lock);
}

/* Who is called may free the post: the source has a share of it. */
static void
release(gpointer post)
{
  g_atomic_rc_box_release_full(post, let_go);
}

Post *
post_new(GMainContext *context, void (*take)(gpointer letter, gpointer owner), GDestroyNotify drop,
         gpointer owner)
{
  static GSourceFuncs functions = {.dispatch = dispatch};
  Post *post = g_atomic_rc_box_new0(Post);
  g_mutex_init(&post->lock);
  g_queue_init(&post->letters);
  post->take = take;
  post->drop = drop;
  post->owner = owner;
  post->source = g_source_new(&functions, sizeof(GSource));
  g_source_set_callback(post->source, deliver, g_atomic_rc_box_acquire(post), release);
  g_source_attach(post->source, context);
  return post;
}

void
post_close(Post *post)
{
  g_atomic_int_set(&post->closed, TRUE);
}

gboolean
post_is_closed(Post *post)
{
  return g_atomic_int_get(&post->closed);
}

void
post_free(Post *post)
{
  post_close(post);
  g_source_destroy(post->source);
  for (gpointer letter; (letter = next(post));)
    post->drop(letter);
  release(post);
}

void
post_send(Post *post, gpointer letter)
{
  g_mutex_lock(&post->lock);
  g_queue_push_tail(&post->letters, letter);
  g_mutex_unlock(&post->lock);
  g_source_set_ready_time(post->source, 0);
}
