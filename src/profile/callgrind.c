#include "profile/callgrind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define LINE_LIMIT  (64u << 10)
#define NAME_LIMIT  (1u << 20)   /* numbered names */
#define NAMES_LIMIT (128u << 20) /* bytes of all names */
#define EVENT_LIMIT 64
#define CHUNK       (256u << 10)

typedef enum { FILE_NAME, FUNCTION_NAME, NAME_KINDS } NameKind;

struct ProfileCallgrind {
  ProfileCalls *calls;
  char *name;
  GString *line; /* what has come of it */
  guint64 number;

  /* Of the part's header. */
  guint positions; /* numbers before the costs; the first is the instruction's address; 0: not told */
  guint events;    /* 0: not told */
  guint cost;      /* index of the event that counts: instructions */
  gboolean ended;  /* "totals:" was there */
  gboolean dirty;  /* costs since the last "totals:" */
  guint64 total;

  GHashTable *numbered[NAME_KINDS]; /* number -> name */
  GHashTable *names;                /* own: all names */
  gsize names_length;
  const char *object, *function, *called_object, *called_function; /* NULL: none */
  ProfileContext *context;                                         /* of the first two; NULL: to be found */
  gboolean jump_leaves;                                            /* the next jump ends the context */

  guint64 base; /* address of the last line with costs */
  enum { PLAIN, CALL, JUMP } next;
  guint64 count, target; /* of that call or jump */
};

ProfileCallgrind *
profile_callgrind_new(ProfileFileReader reader, const char *name)
{
  ProfileCallgrind *callgrind = g_new0(ProfileCallgrind, 1);
  callgrind->calls = profile_calls_new(reader);
  callgrind->name = g_strdup(name);
  callgrind->line = g_string_new(NULL);
  callgrind->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < NAME_KINDS; i++)
    callgrind->numbered[i] = g_hash_table_new(NULL, NULL);
  return callgrind;
}

void
profile_callgrind_free(ProfileCallgrind *callgrind)
{
  if (!callgrind)
    return;
  profile_calls_free(callgrind->calls);
  for (guint i = 0; i < NAME_KINDS; i++)
    g_hash_table_unref(callgrind->numbered[i]);
  g_hash_table_unref(callgrind->names);
  g_string_free(callgrind->line, TRUE);
  g_free(callgrind->name);
  g_free(callgrind);
}

static gboolean
fail(GError **error, const char *why)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s", why);
}

static void
skip_spaces(const char **text)
{
  *text += strspn(*text, " \t");
}

/* A number, decimal or hexadecimal, and the spaces behind it. Numbers end at G_MAXINT64: sums of more mean
 * nothing. */
static gboolean
take_number(const char **text, guint64 *number, GError **error)
{
  gboolean hexadecimal = (*text)[0] == '0' && ((*text)[1] == 'x' || (*text)[1] == 'X');
  const char *digits = *text + (hexadecimal ? 2 : 0);
  if (hexadecimal ? !g_ascii_isxdigit(*digits) : !g_ascii_isdigit(*digits))
    return fail(error, "a number is missing");
  char *end;
  errno = 0;
  *number = g_ascii_strtoull(digits, &end, hexadecimal ? 16 : 10);
  if (errno == ERANGE || (*number > G_MAXINT64 && !hexadecimal))
    return fail(error, "a number is too large");
  *text = end;
  skip_spaces(text);
  return TRUE;
}

/* The numbers that say where: all but the address are lines of sources, which nobody needs here. */
static gboolean
take_position(const ProfileCallgrind *callgrind, const char **text, guint64 *address, GError **error)
{
  for (guint i = 0; i < callgrind->positions; i++) {
    char sign = **text;
    guint64 number = 0;
    if (sign == '*' || sign == '+' || sign == '-')
      (*text)++;
    if (sign == '*')
      skip_spaces(text);
    else if (i > 0 && !**text)
      return TRUE;
    else if (!take_number(text, &number, error))
      return FALSE;
    if (i > 0)
      continue;
    *address = number;
    if ((sign == '+' && __builtin_add_overflow(callgrind->base, number, address)) ||
        (sign == '-' && __builtin_sub_overflow(callgrind->base, number, address)))
      return fail(error, "an address is out of range");
    if (sign == '*')
      *address = callgrind->base;
  }
  return TRUE;
}

/* The cost that counts, of a line's list; those at its end that are 0 may be missing. */
static gboolean
take_cost(const ProfileCallgrind *callgrind, const char **text, guint64 *cost, GError **error)
{
  *cost = 0;
  guint i = 0;
  for (guint64 number; **text && i < callgrind->events; i++) {
    if (!take_number(text, &number, error))
      return FALSE;
    if (i == callgrind->cost)
      *cost = MIN(number, G_MAXINT64);
  }
  return !**text || fail(error, "there are more numbers than its header announces");
}

static const char *
keep_name(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  const char *known;
  if (g_hash_table_lookup_extended(callgrind->names, text, (gpointer *)&known, NULL))
    return known;
  callgrind->names_length += strlen(text) + 64;
  if (callgrind->names_length > NAMES_LIMIT) {
    fail(error, "its names take too much room");
    return NULL;
  }
  char *kept = g_strdup(text);
  g_hash_table_add(callgrind->names, kept);
  return kept;
}

/* "name", "(number) name" or "(number)". NULL with an error. */
static const char *
take_name(ProfileCallgrind *callgrind, NameKind kind, const char *text, GError **error)
{
  guint64 number;
  skip_spaces(&text);
  if (text[0] != '(' || !g_ascii_isdigit(text[1]))
    return keep_name(callgrind, text, error);
  text++;
  if (!take_number(&text, &number, error))
    return NULL;
  if (*text++ != ')' || number > G_MAXUINT32) {
    fail(error, "the number of a name is damaged");
    return NULL;
  }
  skip_spaces(&text);
  GHashTable *numbered = callgrind->numbered[kind];
  gpointer key = GSIZE_TO_POINTER((gsize)number);
  if (!*text) {
    const char *known = g_hash_table_lookup(numbered, key);
    if (!known)
      fail(error, "the number of a name was not explained before");
    return known;
  }
  const char *kept = keep_name(callgrind, text, error);
  if (kept && g_hash_table_size(numbered) >= NAME_LIMIT && !g_hash_table_contains(numbered, key)) {
    fail(error, "it has too many names");
    return NULL;
  }
  if (kept)
    g_hash_table_insert(numbered, key, (gpointer)kept);
  return kept;
}

static gboolean
on_object(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  callgrind->context = NULL;
  return (callgrind->object = take_name(callgrind, FILE_NAME, text, error)) != NULL;
}

static gboolean
on_function(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  callgrind->context = NULL;
  return (callgrind->function = take_name(callgrind, FUNCTION_NAME, text, error)) != NULL;
}

static gboolean
on_called_object(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  return (callgrind->called_object = take_name(callgrind, FILE_NAME, text, error)) != NULL;
}

static gboolean
on_called_function(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  return (callgrind->called_function = take_name(callgrind, FUNCTION_NAME, text, error)) != NULL;
}

/* The function of a jump is told where it is another than the jump's own: by longjmp(3) and the like. */
static gboolean
on_jump_function(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  callgrind->jump_leaves = TRUE;
  return take_name(callgrind, FUNCTION_NAME, text, error) != NULL;
}

static gboolean
on_source(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  return TRUE;
}

static gboolean
on_calls(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  skip_spaces(&text);
  callgrind->next = CALL;
  return take_number(&text, &callgrind->count, error) &&
         take_position(callgrind, &text, &callgrind->target, error);
}

static gboolean
on_jump(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  skip_spaces(&text);
  callgrind->next = JUMP;
  return take_number(&text, &callgrind->count, error) &&
         take_position(callgrind, &text, &callgrind->target, error);
}

/* Valgrind writes "jumps/executions", its manual has "executions jumps". */
static gboolean
on_conditional_jump(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  guint64 number;
  skip_spaces(&text);
  callgrind->next = JUMP;
  if (!take_number(&text, &callgrind->count, error))
    return FALSE;
  gboolean slash = *text == '/';
  text += slash;
  if (!take_number(&text, slash ? &number : &callgrind->count, error))
    return FALSE;
  return take_position(callgrind, &text, &callgrind->target, error);
}

static gboolean
on_version(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  guint64 version;
  skip_spaces(&text);
  if (!take_number(&text, &version, error))
    return FALSE;
  return version <= 1 ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "its format is of version %" G_GUINT64_FORMAT ", and 1 is what can be read",
                          version);
}

static gboolean
on_positions(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  g_auto(GStrv) words = g_strsplit_set(text, " \t", 8);
  guint count = 0;
  for (guint i = 0; words[i]; i++) {
    if (!*words[i])
      continue;
    if (count == 0 && strcmp(words[i], "instr") != 0)
      break;
    count++;
  }
  callgrind->positions = count;
  return count > 0 || doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                                       "it has no addresses: callgrind writes them with --dump-instr=yes");
}

static gboolean
on_events(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  g_auto(GStrv) words = g_strsplit_set(text, " \t", EVENT_LIMIT + 1);
  guint count = 0;
  gboolean found = FALSE;
  for (guint i = 0; words[i] && count < EVENT_LIMIT; i++) {
    if (!*words[i])
      continue;
    if (strcmp(words[i], "Ir") == 0) {
      callgrind->cost = count;
      found = TRUE;
    }
    count++;
  }
  callgrind->events = count;
  return found || doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                                   "it does not count instructions (the event \"Ir\")");
}

static gboolean
on_totals(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  guint64 total;
  skip_spaces(&text);
  if (!take_cost(callgrind, &text, &total, error))
    return FALSE;
  if (total != callgrind->total)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "it says that the program executed %" G_GUINT64_FORMAT
                            " instructions, and its lines make up %" G_GUINT64_FORMAT,
                            total, callgrind->total);
  callgrind->ended = TRUE;
  callgrind->dirty = FALSE;
  callgrind->total = 0;
  return TRUE;
}

static const struct {
  const char *begin;
  gboolean (*read)(ProfileCallgrind *callgrind, const char *text, GError **error);
} kinds[] = {
    {"fn=", on_function},         {"cfn=", on_called_function}, {"calls=", on_calls},
    {"ob=", on_object},           {"cob=", on_called_object},   {"fl=", on_source},
    {"fi=", on_source},           {"fe=", on_source},           {"cfi=", on_source},
    {"cfl=", on_source},          {"jump=", on_jump},           {"jcnd=", on_conditional_jump},
    {"jfi=", on_source},          {"jfn=", on_jump_function},   {"version:", on_version},
    {"positions:", on_positions}, {"events:", on_events},       {"totals:", on_totals},
};

static ProfileContext *
current_context(ProfileCallgrind *callgrind, GError **error)
{
  if (!callgrind->context && !callgrind->function)
    fail(error, "a cost comes before the function that it is of");
  else if (!callgrind->context)
    callgrind->context = profile_calls_context(callgrind->calls, callgrind->object ? callgrind->object : "",
                                               callgrind->function, error);
  return callgrind->context;
}

static gboolean
add_call(ProfileCallgrind *callgrind, ProfileContext *context, guint64 address, guint64 cost, GError **error)
{
  const char *object = callgrind->called_object ? callgrind->called_object : callgrind->object;
  if (!callgrind->called_function)
    return fail(error, "a call comes before the function that it is to");
  ProfileContext *callee =
      profile_calls_context(callgrind->calls, object ? object : "", callgrind->called_function, error);
  /* Whom the next call is to is told anew, but an object only where it is not the caller's. */
  callgrind->called_object = NULL;
  return callee && profile_calls_call(callgrind->calls, context, address, callee, callgrind->target,
                                      callgrind->count, cost, error);
}

/* A line of a position and costs. The one after a call or jump belongs to that, and is no place from which
 * later ones are counted. */
static gboolean
on_costs(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  guint64 address, cost;
  if (callgrind->positions == 0 || callgrind->events == 0)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "costs come before \"positions: instr\" and \"events:\"");
  if (!take_position(callgrind, &text, &address, error) || !take_cost(callgrind, &text, &cost, error))
    return FALSE;
  ProfileContext *context = current_context(callgrind, error);
  if (!context)
    return FALSE;
  callgrind->dirty = TRUE;
  int kind = callgrind->next;
  callgrind->next = PLAIN;
  if (kind == CALL)
    return add_call(callgrind, context, address, cost, error);
  if (kind == JUMP) {
    gboolean leaves = callgrind->jump_leaves;
    callgrind->jump_leaves = FALSE;
    return leaves ||
           profile_calls_jump(callgrind->calls, context, address, callgrind->target, callgrind->count, error);
  }
  callgrind->base = address;
  callgrind->total = profile_sum(callgrind->total, cost);
  return profile_calls_cost(callgrind->calls, context, address, cost, error);
}

static gboolean
read_line(ProfileCallgrind *callgrind, const char *text, GError **error)
{
  if (g_ascii_isdigit(*text) || strchr("+-*", *text))
    return on_costs(callgrind, text, error);
  if (callgrind->next != PLAIN)
    return fail(error, "the line after a call or a jump does not say where it was");
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
    if (g_str_has_prefix(text, kinds[i].begin))
      return kinds[i].read(callgrind, text + strlen(kinds[i].begin), error);
  /* "cmd:", "desc:" and what later versions may tell. */
  const char *word_end = text + strspn(text, "abcdefghijklmnopqrstuvwxyz");
  return (word_end > text && *word_end == ':') || fail(error, "it is no line of a profile");
}

/* Ends the line that has come. */
static gboolean
end_line(ProfileCallgrind *callgrind, GError **error)
{
  callgrind->number++;
  const char *text = callgrind->line->str;
  gboolean good = TRUE;
  if (strlen(text) != callgrind->line->len)
    good = fail(error, "it has a zero byte");
  else if (*text && *text != '#')
    good = read_line(callgrind, text, error);
  g_string_truncate(callgrind->line, 0);
  if (!good)
    g_prefix_error(error, "line %" G_GUINT64_FORMAT " of the profile %s: ", callgrind->number,
                   callgrind->name);
  return good;
}

gboolean
profile_callgrind_feed(ProfileCallgrind *callgrind, const char *bytes, gsize length, GError **error)
{
  while (length > 0) {
    const char *newline = memchr(bytes, '\n', length);
    gsize part = newline ? (gsize)(newline - bytes) : length;
    gsize kept = MIN(part, LINE_LIMIT - callgrind->line->len);
    g_string_append_len(callgrind->line, bytes, kept);
    /* The program's arguments may be as many as the system allows, and nobody needs them. */
    if (kept < part && !g_str_has_prefix(callgrind->line->str, "cmd:"))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                              "line %" G_GUINT64_FORMAT " of the profile %s: it is too long",
                              callgrind->number + 1, callgrind->name);
    if (!newline)
      return TRUE;
    if (!end_line(callgrind, error))
      return FALSE;
    bytes += part + 1;
    length -= part + 1;
  }
  return TRUE;
}

ProfileGraph *
profile_callgrind_end(ProfileCallgrind *callgrind, GError **error)
{
  if (callgrind->line->len > 0 && !end_line(callgrind, error))
    return NULL;
  if (callgrind->number == 0) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "the profile %s is empty: the program executed another one or was killed before its end",
                     callgrind->name);
    return NULL;
  }
  if (!callgrind->ended || callgrind->dirty || callgrind->next != PLAIN) {
    doppel_error_set(
        error, DOPPEL_ERROR_HOSTILE,
        "line %" G_GUINT64_FORMAT
        " of the profile %s: it ends here, without the \"totals:\" of a whole one; make it again",
        callgrind->number, callgrind->name);
    return NULL;
  }
  ProfileGraph *graph = profile_calls_finish(callgrind->calls, error);
  if (!graph)
    g_prefix_error(error, "the profile %s: ", callgrind->name);
  return graph;
}

ProfileGraph *
profile_callgrind_read(const char *path, GError **error)
{
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    doppel_error_errno(error, "cannot read the profile %s", path);
    return NULL;
  }
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(profile_file_read, path);
  g_autofree char *chunk = g_malloc(CHUNK);
  for (;;) {
    gssize got = io_read_all(fd, chunk, CHUNK);
    if (got < 0) {
      doppel_error_errno(error, "cannot read the profile %s", path);
      return NULL;
    }
    if (got == 0)
      return profile_callgrind_end(callgrind, error);
    if (!profile_callgrind_feed(callgrind, chunk, (gsize)got, error))
      return NULL;
  }
}
