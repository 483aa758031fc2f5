/* What threads send comes to its owner in the order of sending, and to nobody when it is too late. */
#include "base/post.h"

#define SENDERS 3u
#define LETTERS 2000u

typedef struct {
  guint sender, number;
} Letter;

typedef struct {
  Post *post;
  guint next[SENDERS], taken;
  gboolean frees; /* the post with the first letter */
} Owner;

typedef struct {
  Post *post;
  guint which;
} Sender;

static gint dropped;

static void
drop(gpointer letter)
{
  g_atomic_int_inc(&dropped);
  g_free(letter);
}

static void
take(gpointer data, gpointer user)
{
  g_autofree Letter *letter = data;
  Owner *owner = user;
  g_assert_cmpuint(letter->number, ==, owner->next[letter->sender]++);
  owner->taken++;
  if (owner->frees)
    g_clear_pointer(&owner->post, post_free);
}

static gpointer
send(gpointer data)
{
  const Sender *sender = data;
  for (guint i = 0; i < LETTERS; i++) {
    Letter *letter = g_new(Letter, 1);
    *letter = (Letter){sender->which, i};
    post_send(sender->post, letter);
  }
  return NULL;
}

static void
test_order(void)
{
  g_autoptr(GMainContext) context = g_main_context_new();
  Owner owner = {0};
  owner.post = post_new(context, take, drop, &owner);
  GThread *threads[SENDERS];
  Sender senders[SENDERS];
  for (guint i = 0; i < SENDERS; i++) {
    senders[i] = (Sender){owner.post, i};
    threads[i] = g_thread_new("send", send, &senders[i]);
  }
  while (owner.taken < SENDERS * LETTERS)
    g_main_context_iteration(context, TRUE);
  for (guint i = 0; i < SENDERS; i++)
    g_thread_join(threads[i]);
  post_free(owner.post);
  g_assert_cmpint(dropped, ==, 0);
}

static void
test_closed(void)
{
  g_autoptr(GMainContext) context = g_main_context_new();
  Owner owner = {0};
  owner.post = post_new(context, take, drop, &owner);
  Sender sender = {owner.post, 0};
  send(&sender);
  g_assert_false(post_is_closed(owner.post));
  post_close(owner.post);
  g_assert_true(post_is_closed(owner.post));
  while (g_main_context_iteration(context, FALSE))
    ;
  dropped = 0;
  post_free(owner.post);
  g_assert_cmpuint(owner.taken, ==, 0);
  g_assert_cmpint(dropped, ==, LETTERS);
}

static void
test_freed(void)
{
  g_autoptr(GMainContext) context = g_main_context_new();
  Owner owner = {.frees = TRUE};
  owner.post = post_new(context, take, drop, &owner);
  Sender sender = {owner.post, 0};
  send(&sender);
  dropped = 0;
  while (g_main_context_iteration(context, FALSE))
    ;
  g_assert_cmpuint(owner.taken, ==, 1);
  g_assert_cmpint(dropped, ==, LETTERS - 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/post/order", test_order);
  g_test_add_func("/post/closed", test_closed);
  g_test_add_func("/post/freed", test_freed);
  return g_test_run();
}
