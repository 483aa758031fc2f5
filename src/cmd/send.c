/* doppel send: files for other users, through the own clone. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "c2c/send_deliver.h"
#include "cmd/cmd.h"
#include "cmd/friends.h"
#include "cmd/friends_rows.h"

#define TRIES    5
#define PAUSE_US G_USEC_PER_SEC

static const char summary[] =
    "Sends files to another user. They go to your own clone, and this returns when that has them durably: "
    "the "
    "clone delivers\nthem when the other one can be reached, also while this device is off. The other clone "
    "confirms with a signed receipt\n(\"doppel outbox\"). What was interrupted goes on where it was when the "
    "same file is sent to the same user again.";

static const char notes[] =
    "Examples:\n"
    "  doppel send bob report.pdf pictures.tar\n"
    "  doppel send --wait bob report.pdf        until bob's clone has it, or says why not\n"
    "  doppel outbox                            how far it is\n"
    "  tar c pictures | zstd > p.tar.zst && doppel send bob p.tar.zst    a directory\n"
    "\n"
    "The other user has to allow it: bob$ doppel allow alice send";

typedef struct {
  gboolean wait, json;
} Options;

/* What has become of one file. */
static gboolean
watch(int fd, guint64 id, const char *user, const Options *options, FriendsRows *rows, gboolean *heard,
      GError **error)
{
  Doppel__Send__Watch message = DOPPEL__SEND__WATCH__INIT;
  g_autoptr(SendMessage) last = NULL;
  FriendsProgress progress;
  message.id = id;
  friends_progress_begin(&progress, user, !options->json);
  if (!send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_WATCH, &message, error))
    return FALSE;
  for (gboolean over = FALSE; !over;) {
    g_autoptr(SendMessage) next = send_message_receive(fd, error);
    if (!next)
      return FALSE;
    if (next->what_case == DOPPEL__SEND__MESSAGE__WHAT_REFUSED)
      return friends_rows_refused(next, error);
    over = next->what_case != DOPPEL__SEND__MESSAGE__WHAT_ROW;
    if (over)
      break;
    friends_progress_tell(next->row->done, next->row->size, &progress);
    *heard = TRUE;
    send_message_free(last);
    last = g_steal_pointer(&next);
  }
  friends_progress_end(&progress);
  if (!last)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone did not say what became of it");
  friends_rows_add(rows, last->row);
  if (last->row->state == DOPPEL__SEND__STATE__DELIVERED)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s",
                          last->row->words[0] ? last->row->words : "it was cancelled");
}

/* Whether it is worth to try the i-th time again: the clone's node may be starting anew, but there was one.
 */
static gboolean
is_worth(guint i, gboolean dialled, const GError *problem)
{
  return i < TRIES && (dialled || i > 1) && g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

/* It is under way whether anybody watches or not. */
static gboolean
watch_patiently(Fd *fd, guint64 id, const char *user, const Options *options, FriendsRows *rows,
                GError **error)
{
  for (guint i = 2;; i++) {
    g_autoptr(GError) problem = NULL;
    gboolean heard = FALSE;
    if (*fd < 0)
      *fd = friends_dial(NULL, "outbox", &problem);
    if (*fd >= 0 && watch(*fd, id, user, options, rows, &heard, &problem))
      return TRUE;
    io_close(fd);
    i = heard ? 2 : i;
    if (!is_worth(i, TRUE, problem)) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return FALSE;
    }
    g_usleep(PAUSE_US);
  }
}

/* One attempt to bring it to the own clone. */
static gboolean
upload(const char *user, Doppel__Send__Offer *offer, int file, FriendsProgress *progress, Fd *fd,
       gboolean *dialled, guint64 *id, GError **error)
{
  g_auto(SendDelivery) delivery = {0};
  Doppel__Send__Post post = DOPPEL__SEND__POST__INIT;
  post.user = (char *)user;
  post.offer = offer;
  if (*fd < 0)
    *fd = friends_dial(NULL, "outbox", error);
  *dialled = *fd >= 0;
  if (*fd < 0)
    return FALSE;
  if (!send_deliver(*fd, DOPPEL__SEND__MESSAGE__WHAT_POST, &post, offer->size, file, friends_progress_tell,
                    progress, &delivery, error)) {
    io_close(fd); /* whatever it is in the middle of */
    return FALSE;
  }
  if (delivery.answer->what_case != DOPPEL__SEND__MESSAGE__WHAT_KEPT)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer is none");
  *id = delivery.answer->kept->id;
  return TRUE;
}

/* A connection that breaks is no reason to give up. */
static gboolean
upload_patiently(const char *user, Doppel__Send__Offer *offer, int file, const Options *options, Fd *fd,
                 guint64 *id, GError **error)
{
  FriendsProgress progress;
  for (guint i = 1;; i++) {
    g_autoptr(GError) problem = NULL;
    friends_progress_begin(&progress, offer->name, !options->json);
    gboolean dialled, done = upload(user, offer, file, &progress, fd, &dialled, id, &problem);
    friends_progress_end(&progress);
    if (done)
      return TRUE;
    if (!is_worth(i, dialled, problem)) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return FALSE;
    }
    g_usleep(PAUSE_US);
  }
}

/* `fd` is the conversation with the clone, which goes on from file to file. */
static gboolean
send_file(const char *user, const char *path, const Options *options, FriendsRows *rows, Fd *fd,
          GError **error)
{
  guint8 item[SEND_ITEM], hash[SEND_HASH];
  guint64 id = 0;
  Doppel__Send__Offer offer = DOPPEL__SEND__OFFER__INIT;
  g_autofree char *base = g_path_get_basename(path);
  g_autofree char *name = g_utf8_make_valid(base, -1);
  g_auto(Fd) file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0)
    return doppel_error_errno(error, "cannot open it");
  randombytes_buf(item, sizeof item);
  offer.item = (ProtobufCBinaryData){sizeof item, item};
  offer.name = name;
  if (!send_offer_from_file(file, &offer, hash, error) ||
      !upload_patiently(user, &offer, file, options, fd, &id, error))
    return FALSE;
  if (options->wait)
    return watch_patiently(fd, id, user, options, rows, error);
  Doppel__Send__Row row = DOPPEL__SEND__ROW__INIT;
  row.id = id;
  row.user = (char *)user;
  row.name = name;
  row.size = offer.size;
  row.hash = offer.hash;
  row.state = DOPPEL__SEND__STATE__KEPT;
  row.changed_ns = g_get_real_time() * 1000;
  friends_rows_add(rows, &row);
  return TRUE;
}

int
cmd_send(int argc, char **argv)
{
  Options options = {0};
  const GOptionEntry entries[] = {
      {"wait", 'w', 0, G_OPTION_ARG_NONE, &options.wait, "Return only when it is delivered, or refused",
       NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("USER FILE...");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 2, G_MAXINT))
    return 2;
  int status = 0;
  g_autoptr(FriendsRows) rows = friends_rows_new(FRIENDS_ROWS_OUTBOX);
  g_auto(Fd) fd = -1;
  for (int i = 2; i < argc; i++) {
    g_autoptr(GError) error = NULL;
    if (send_file(argv[1], argv[i], &options, rows, &fd, &error))
      continue;
    fprintf(stderr, "doppel send: %s: %s\n", argv[i], error->message);
    status = MAX(status, g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) ? 2 : 1);
  }
  friends_rows_print(rows, options.json);
  return status;
}
