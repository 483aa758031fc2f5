/* A server's part of a log of documents, for tests: log_user VERB WHERE DOCUMENTS ...
 *   append WHERE DOCUMENTS WRITER COUNT   COUNT entries "WRITER I" to each document 1 to DOCUMENTS, I from 1;
 * prints "DOCUMENT NUMBER I" for each one that is acknowledged dump WHERE DOCUMENTS           prints
 * "DOCUMENT NUMBER WRITER I" of all entries follow WHERE DOCUMENTS         dumps again and again until its
 * standard input ends; fails where an entry changes length WHERE DOCUMENTS         prints "DOCUMENT LENGTH"
 *   next WHERE DOCUMENTS NUMBER    appends entry NUMBER to each: prints "DOCUMENT done", "taken" or "failed"
 * Whatever fails is said on standard error; append goes on. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/server/log.h"

#define ENTRY_LENGTH 160
#define ATTEMPTS     200

typedef struct {
  DocLog *log;
  guint documents;
  guint64 *lengths;    /* of what is known of each */
  GPtrArray **entries; /* of "WRITER I": for follow */
} User;

static void
name_of(guint document, DocName *name)
{
  memset(name->bytes, (int)document, sizeof name->bytes);
}

static GBytes *
make_entry(const char *writer, guint i)
{
  char *text = g_malloc0(ENTRY_LENGTH);
  g_snprintf(text, ENTRY_LENGTH, "%s %u", writer, i);
  return g_bytes_new_take(text, ENTRY_LENGTH);
}

static gboolean
complain(GError *error)
{
  fprintf(stderr, "%s\n", error->message);
  g_error_free(error);
  return FALSE;
}

/* Reads what came after what is known of the document; *own: a byte string to look for. */
static gboolean
catch_up(User *user, guint document, GBytes *own, guint64 *found)
{
  GError *error = NULL;
  DocName name;
  name_of(document, &name);
  for (;;) {
    guint64 from = user->lengths[document] + 1;
    g_autoptr(GPtrArray) entries = doc_log_read(user->log, &name, from, 100, 1 << 20, &error);
    if (!entries)
      return complain(error);
    for (guint i = 0; i < entries->len; i++)
      if (own && g_bytes_equal(entries->pdata[i], own))
        *found = from + i;
    user->lengths[document] += entries->len;
    if (entries->len == 0)
      return TRUE;
  }
}

/* Until it is there: its number, 0 where that cannot be had. */
static guint64
append_one(User *user, guint document, GBytes *entry)
{
  DocName name;
  name_of(document, &name);
  guint64 found = 0;
  for (guint attempt = 0; attempt < ATTEMPTS && found == 0; attempt++) {
    g_autoptr(GError) error = NULL;
    guint64 number = user->lengths[document] + 1;
    DocLogOutcome outcome = doc_log_append(user->log, &name, number, entry, &error);
    if (outcome == DOC_LOG_DONE)
      return user->lengths[document] = number;
    if (outcome == DOC_LOG_FAILED)
      fprintf(stderr, "%s\n", error->message);
    catch_up(user, document, entry, &found);
  }
  return found;
}

static int
append(User *user, char **words)
{
  guint count = (guint)g_ascii_strtoull(words[1], NULL, 10);
  for (guint document = 1; document <= user->documents; document++)
    catch_up(user, document, NULL, NULL);
  for (guint i = 1; i <= count; i++)
    for (guint document = 1; document <= user->documents; document++) {
      g_autoptr(GBytes) entry = make_entry(words[0], i);
      guint64 number = append_one(user, document, entry);
      if (number == 0)
        return 1;
      printf("%u %" G_GUINT64_FORMAT " %u\n", document, number, i);
      fflush(stdout);
    }
  return 0;
}

static int
dump(User *user, char **words)
{
  for (guint document = 1; document <= user->documents; document++) {
    DocName name;
    name_of(document, &name);
    for (guint64 number = 1;;) {
      GError *error = NULL;
      g_autoptr(GPtrArray) entries = doc_log_read(user->log, &name, number, 100, 1 << 20, &error);
      if (!entries)
        return complain(error), 1;
      if (entries->len == 0)
        break;
      for (guint i = 0; i < entries->len; i++)
        printf("%u %" G_GUINT64_FORMAT " %s\n", document, number++,
               (const char *)g_bytes_get_data(entries->pdata[i], NULL));
    }
  }
  return 0;
}

/* Entries that were there once are the same for ever. */
static gboolean
look_again(User *user, guint document)
{
  DocName name;
  name_of(document, &name);
  GPtrArray *known = user->entries[document];
  g_autoptr(GError) error = NULL;
  guint64 from = known->len > 50 ? known->len - 50 : 1;
  g_autoptr(GPtrArray) entries = doc_log_read(user->log, &name, from, 500, 1 << 20, &error);
  if (!entries) {
    fprintf(stderr, "%s\n", error->message);
    return TRUE;
  }
  if (from + entries->len - 1 < known->len)
    return fprintf(stderr, "CHANGED: document %u is shorter\n", document), FALSE;
  for (guint i = 0; i < entries->len; i++) {
    guint64 number = from + i;
    if (number > known->len)
      g_ptr_array_add(known, g_bytes_ref(entries->pdata[i]));
    else if (!g_bytes_equal(known->pdata[number - 1], entries->pdata[i]))
      return fprintf(stderr, "CHANGED: document %u, entry %u\n", document, (guint)number), FALSE;
  }
  return TRUE;
}

static int
follow(User *user, char **words)
{
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  gboolean same = TRUE;
  guint looks = 0;
  user->entries = g_new0(GPtrArray *, user->documents + 1);
  for (guint document = 1; document <= user->documents; document++)
    user->entries[document] = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (; same && poll(&input, 1, 50) == 0; looks++) {
    for (guint document = 1; same && document <= user->documents; document++)
      same = look_again(user, document);
    printf("look %u\n", looks);
    fflush(stdout);
  }
  for (guint document = 1; document <= user->documents; document++)
    g_ptr_array_unref(user->entries[document]);
  g_free(user->entries);
  return same ? 0 : 1;
}

static int
length(User *user, char **words)
{
  for (guint document = 1; document <= user->documents; document++) {
    GError *error = NULL;
    guint64 found;
    DocName name;
    name_of(document, &name);
    if (!doc_log_length(user->log, &name, &found, &error))
      return complain(error), 1;
    printf("%u %" G_GUINT64_FORMAT "\n", document, found);
  }
  return 0;
}

static int
next(User *user, char **words)
{
  static const char *const outcomes[] = {"done", "taken", "failed"};
  guint64 number = g_ascii_strtoull(words[0], NULL, 10);
  for (guint document = 1; document <= user->documents; document++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) entry = make_entry("next", (guint)number);
    DocName name;
    name_of(document, &name);
    DocLogOutcome outcome = doc_log_append(user->log, &name, number, entry, &error);
    printf("%u %s\n", document, outcomes[outcome]);
    if (error)
      fprintf(stderr, "%s\n", error->message);
  }
  return 0;
}

static const struct {
  const char *name;
  int words;
  int (*run)(User *user, char **words);
} verbs[] = {{"append", 2, append},
             {"dump", 0, dump},
             {"follow", 0, follow},
             {"length", 0, length},
             {"next", 1, next}};

int
main(int argc, char **argv)
{
  for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
    if (argc != 4 + verbs[i].words || !g_str_equal(argv[1], verbs[i].name))
      continue;
    GError *error = NULL;
    User user = {.log = doc_log_open(argv[2], &error),
                 .documents = (guint)g_ascii_strtoull(argv[3], NULL, 10)};
    if (!user.log)
      return complain(error), 1;
    user.lengths = g_new0(guint64, user.documents + 1);
    int status = verbs[i].run(&user, argv + 4);
    g_free(user.lengths);
    doc_log_free(user.log);
    return status;
  }
  fprintf(stderr, "usage: log_user VERB WHERE DOCUMENTS ...\n");
  return 2;
}
