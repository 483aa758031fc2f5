#include "mirror/symbols_rust.h"

#include <string.h>

enum { DEPTH_MAX = 256 };

/* What may be referred back to: a reference says only where it begins. */
typedef enum { PATH, TYPE, CONST } Kind;

typedef struct {
  const char *text; /* behind "_R" */
  gsize length, next;
  guint depth;
  gboolean bad;
  guint8 *seen; /* for each place: bits of the Kinds that have been looked at there */
} Name;

static void path(Name *name);
static void type(Name *name);
static void constant(Name *name);

static gboolean
fail(Name *name)
{
  name->bad = TRUE;
  return FALSE;
}

static char
peek(const Name *name)
{
  return !name->bad && name->next < name->length ? name->text[name->next] : '\0';
}

static gboolean
eat(Name *name, char c)
{
  gboolean there = peek(name) == c;
  name->next += there;
  return there;
}

static char
take(Name *name)
{
  char c = peek(name);
  if (!c)
    fail(name);
  name->next += c != '\0';
  return c;
}

/* <base-62-number>; too large a one is G_MAXUINT64. */
static guint64
number(Name *name)
{
  guint64 value = 0;
  if (eat(name, '_'))
    return 0;
  while (!name->bad && !eat(name, '_')) {
    char c = take(name);
    guint digit = g_ascii_isdigit(c)   ? (guint)(c - '0')
                  : g_ascii_islower(c) ? (guint)(c - 'a') + 10
                  : g_ascii_isupper(c) ? (guint)(c - 'A') + 36
                                       : 62;
    if (digit > 61)
      fail(name);
    value = value > G_MAXUINT64 / 128 ? G_MAXUINT64 / 64 : value * 62 + digit;
  }
  return value + 1;
}

static void
disambiguator(Name *name)
{
  if (eat(name, 's'))
    number(name);
}

static void
binder(Name *name)
{
  if (eat(name, 'G') && number(name) >= SYMBOLS_RUST_LIFETIMES_MAX)
    fail(name);
}

/* <undisambiguated-identifier> */
static void
identifier(Name *name)
{
  eat(name, 'u');
  gsize length = 0;
  char c = take(name);
  if (!g_ascii_isdigit(c)) {
    fail(name);
    return;
  }
  length = (gsize)(c - '0');
  while (length > 0 && length <= name->length && g_ascii_isdigit(peek(name)))
    length = length * 10 + (gsize)(take(name) - '0');
  eat(name, '_');
  if (length > name->length - name->next)
    fail(name);
  else
    name->next += length;
}

/* What it refers to is looked at once as each kind, so that no name is looked at for long. */
static void
reference(Name *name, Kind kind)
{
  static void (*const kinds[])(Name *) = {[PATH] = path, [TYPE] = type, [CONST] = constant};
  guint64 place = number(name);
  if (name->bad || place >= name->length) {
    fail(name);
    return;
  }
  if (name->seen[place] & 1u << kind)
    return;
  name->seen[place] |= 1u << kind;
  gsize back = name->next;
  name->next = place;
  kinds[kind](name);
  name->next = back;
}

static void
generic_argument(Name *name)
{
  if (eat(name, 'L'))
    number(name);
  else if (eat(name, 'K'))
    constant(name);
  else
    type(name);
}

static void
path_of(Name *name, char tag)
{
  switch (tag) {
  case 'C':
    disambiguator(name);
    identifier(name);
    return;
  case 'N':
    if (!g_ascii_isalpha(take(name)))
      fail(name);
    path(name);
    disambiguator(name);
    identifier(name);
    return;
  case 'M':
  case 'X':
    disambiguator(name);
    path(name);
    type(name);
    if (tag == 'X')
      path(name);
    return;
  case 'Y':
    type(name);
    path(name);
    return;
  case 'I':
    path(name);
    while (!name->bad && !eat(name, 'E'))
      generic_argument(name);
    return;
  case 'B':
    reference(name, PATH);
    return;
  default:
    fail(name);
  }
}

static void
path(Name *name)
{
  if (name->depth >= DEPTH_MAX) {
    fail(name);
    return;
  }
  name->depth++;
  path_of(name, take(name));
  name->depth--;
}

static void
function(Name *name)
{
  binder(name);
  eat(name, 'U');
  if (eat(name, 'K') && !eat(name, 'C'))
    identifier(name);
  while (!name->bad && !eat(name, 'E'))
    type(name);
  if (!eat(name, 'u'))
    type(name);
}

static void
dynamic(Name *name)
{
  binder(name);
  while (!name->bad && !eat(name, 'E')) {
    path(name);
    while (eat(name, 'p')) {
      identifier(name);
      type(name);
    }
  }
  if (!eat(name, 'L'))
    fail(name);
  number(name);
}

static void
type_of(Name *name, char tag)
{
  switch (tag) {
  case 'R':
  case 'Q':
    if (eat(name, 'L'))
      number(name);
    type(name);
    return;
  case 'P':
  case 'O':
  case 'S':
    type(name);
    return;
  case 'A':
    type(name);
    constant(name);
    return;
  case 'T':
    while (!name->bad && !eat(name, 'E'))
      type(name);
    return;
  case 'F':
    function(name);
    return;
  case 'D':
    dynamic(name);
    return;
  case 'B':
    reference(name, TYPE);
    return;
  default:
    path_of(name, tag);
  }
}

static void
type(Name *name)
{
  static const char basic[] = "abcdefhijlmnopstuvxyz";
  if (name->depth >= DEPTH_MAX) {
    fail(name);
    return;
  }
  name->depth++;
  char tag = take(name);
  if (!tag || !strchr(basic, tag))
    type_of(name, tag);
  name->depth--;
}

static void
constant(Name *name)
{
  static const char kinds[] = "aslxnihtmyojbc"; /* integers, bool and char */
  if (eat(name, 'B')) {
    reference(name, CONST);
    return;
  }
  if (eat(name, 'p'))
    return;
  char tag = take(name);
  if (!tag || !strchr(kinds, tag))
    fail(name);
  eat(name, 'n');
  while (!name->bad && !eat(name, '_'))
    if (!g_ascii_isxdigit(take(name)))
      fail(name);
}

gboolean
symbols_rust_is_bounded(const char *mangled)
{
  if (!g_str_has_prefix(mangled, "_R"))
    return FALSE;
  const char *text = mangled + strlen("_R");
  Name name = {.text = text, .length = strcspn(text, ".")}; /* behind it is what LLVM added */
  g_autofree guint8 *seen = g_malloc0(name.length + 1);
  name.seen = seen;
  path(&name);
  if (!name.bad && name.next < name.length)
    path(&name); /* the crate that made an instance of it */
  return !name.bad && name.next == name.length;
}
