#include <glib.h>
#include <string.h>

#include "mirror/symbols_demangle.h"
#include "mirror/symbols_query.h"

/* What is not bounded does not come to its end in any such time. */
#define ENDLESS (30 * G_USEC_PER_SEC)

static void
test_texts(void)
{
  static const struct {
    const char *mangled, *full, *bare;
  } rows[] = {
      {"_ZN2ns5Class6methodEi", "ns::Class::method(int)", "ns::Class::method"},
      {"_ZNK2ns5Class6methodEPKcl", "ns::Class::method(char const*, long) const", "ns::Class::method"},
      {"_ZN3doc5scaleIiEET_S1_", "int doc::scale<int>(int)", "doc::scale<int>"},
      {"_ZN12_GLOBAL__N_16hiddenEi", "(anonymous namespace)::hidden(int)", "(anonymous namespace)::hidden"},
      {"_ZN3docltERKNS_4PageES2_", "doc::operator<(doc::Page const&, doc::Page const&)", "doc::operator<"},
      {"plain_c", NULL, NULL},
      {"_Z", NULL, NULL},
      {"_ZN", NULL, NULL},
      {"_RNvCs1234_7mycrate3foo", "mycrate[ca9cc]::foo", NULL},
      {"_RNvC03foo", "::foo", NULL}, /* a name without a letter: a null pointer in the demangler */
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autofree char *full = symbols_demangle(rows[i].mangled);
    g_autofree char *bare = symbols_demangle_bare(rows[i].mangled);
    if (rows[i].full && g_str_has_prefix(rows[i].mangled, "_R"))
      g_assert_nonnull(full);
    else
      g_assert_cmpstr(full, ==, rows[i].full);
    if (rows[i].bare)
      g_assert_cmpstr(bare, ==, rows[i].bare);
  }
}

static void
test_normalised(void)
{
  static const struct {
    const char *text, *with, *without;
  } rows[] = {
      {"doc::scale<int>", "doc::scale<int>", "doc::scale"},
      {"a::b<c<d> >::e<f>", "a::b<c<d>>::e<f>", "a::b::e"},
      {"doc::operator<", "doc::operator<", "doc::operator<"},
      {"doc::operator< <int>", "doc::operator<<int>", "doc::operator<"},
      {"doc::Page::operator<<", "doc::Page::operator<<", "doc::Page::operator<<"},
      {"x::operator->", "x::operator->", "x::operator->"},
      {"doc::title[abi:cxx11]", "doc::title", "doc::title"},
      {"myoperator<int>", "myoperator<int>", "myoperator"},
      {"f<(a)1>", "f<(a)1>", "f"},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autofree char *with = symbols_normalise(rows[i].text, TRUE);
    g_autofree char *without = symbols_normalise(rows[i].text, FALSE);
    g_assert_cmpstr(with, ==, rows[i].with);
    g_assert_cmpstr(without, ==, rows[i].without);
  }
}

/* Each substitution doubles the text: forty of them would be a million megabytes. */
static void
test_bomb(void)
{
  g_autoptr(GString) name = g_string_new("_Z1fI1AIiiE");
  static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  g_string_append(name, "S_IS0_S0_E");
  for (int i = 0; i < 33; i++)
    g_string_append_printf(name, "S_IS%c_S%c_E", digits[i + 1], digits[i + 1]);
  g_string_append(name, "EvT_");
  gint64 before = g_get_monotonic_time();
  g_autofree char *text = symbols_demangle(name->str);
  g_assert_true(text == NULL || strlen(text) < 16384);
  g_assert_cmpint(g_get_monotonic_time() - before, <, ENDLESS);
}

/* As rustc makes them: nothing of these is taken for a bomb. */
static void
test_rust(void)
{
  static const struct {
    const char *mangled, *bare;
  } rows[] = {
      {"_RNvC6_123foo3bar", "123foo::bar"},
      {"_RNvCs1234_7mycrate3foo.llvm.A5310EB9", "mycrate::foo"},
      {"_RNCNvCs1234_7mycrate4main0B3_", "mycrate::main::{closure#0}"},
      {"_RNvMs_Cs4Cv8Wi1oAIB_7mycrateNtB4_7Example3foo", "<mycrate::Example>::foo"},
      {"_RNvXCs15kBYyAo9fc_7mycrateNtB2_7ExampleNtB2_5Trait3foo",
       "<mycrate::Example as mycrate::Trait>::foo"},
      {"_RINvC3std3fooAhj10_E", "std::foo::<[u8; 16]>"},
      {"_RINvC3foo3barFG_RL0_hEuE", "foo::bar::<for<'a> fn(&'a u8)>"},
      {"_RINvC3foo3barDG0_NtC3foo2TrLL1_hRL0_hE", NULL},
      {"_RINvC3foo3barTDNtC3foo2TrEL_ReEE", "foo::bar::<(dyn foo::Tr, &str)>"},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autofree char *bare = symbols_demangle_bare(rows[i].mangled);
    g_autoptr(GString) plain = g_string_new(bare);
    g_autoptr(GRegex) hashes =
        g_regex_new("\\[[0-9a-f]+\\]", 0, 0, NULL); /* of crates, by the library's version */
    g_autofree char *without = g_regex_replace_literal(hashes, plain->str, -1, 0, "", 0, NULL);
    g_assert_cmpstr(bare ? without : NULL, ==, rows[i].bare);
  }
}

/* Lifetimes are counted one by one, and where nothing is printed nothing else could stop that: in the crate
 * of an instance, in the path of an impl, in what is referred back to, in what looks like a name. */
static void
test_lifetimes(void)
{
  static const char *const names[] = {
      "_RC0YDGGDGGG_",
      "_RC0YDGzzzzzzzzzz_EL_C0",
      "_RNvMYFGzzzzz_EuC0C03foo",
      "_RINvC3foo3barFGzzzzz_EuE",
      "_RINvC3foo3barFGg_EuE",
      "_RNvC24MYFGzzzzz_EuC0C0000000003foo",
      "_RINvC9MYFGzzz_03barTB3_B3_EE",
  };
  for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
    gint64 before = g_get_monotonic_time();
    g_autofree char *text = symbols_demangle(names[i]), *bare = symbols_demangle_bare(names[i]);
    g_assert_cmpint(g_get_monotonic_time() - before, <, ENDLESS);
    g_assert_true(!text || strlen(text) < 16384);
  }
  /* As many as a person might write are shown. */
  g_autofree char *few = symbols_demangle_bare("_RINvC3foo3barFGe_EuE"),
                  *many = symbols_demangle_bare("_RINvC3foo3barFGf_EuE");
  g_assert_nonnull(few);
  g_assert_null(many);
}

/* References to references, everywhere. */
static void
test_references(void)
{
  g_autoptr(GString) name = g_string_new("_RINvC3foo3bar");
  for (guint i = 0; i < 900; i++)
    g_string_append(name, "TBb_Bc_E");
  gint64 before = g_get_monotonic_time();
  g_autofree char *text = symbols_demangle(name->str);
  g_assert_cmpint(g_get_monotonic_time() - before, <, ENDLESS);
  g_assert_null(text);
}

static void
test_random(void)
{
  GRand *random = g_rand_new_with_seed(20090);
  static const char letters[] = "0123456789NKSTIEZLRPvicdblmFXDtCAJ_";
  for (int round = 0; round < 20000; round++) {
    char name[64] = "_Z";
    gsize length = g_rand_int_range(random, 3, sizeof name - 1);
    for (gsize i = 2; i < length; i++)
      name[i] = letters[g_rand_int_range(random, 0, sizeof letters - 1)];
    g_autofree char *full = symbols_demangle(name);
    g_autofree char *bare = symbols_demangle_bare(name);
    if (bare)
      g_free(symbols_normalise(bare, FALSE));
  }
  g_rand_free(random);
}

static void
test_queries(void)
{
  static const struct {
    const char *text, *module, *name, *version;
    gboolean is_address;
    guint64 address;
    gboolean is_offset;
  } rows[] = {
      {"work", NULL, "work", NULL},
      {"libsqlite3.so.0:sqlite3_step", "libsqlite3.so.0", "sqlite3_step", NULL},
      {"ns::Class::method", NULL, "ns::Class::method", NULL},
      {"lib:ns::f(int)", "lib", "ns::f(int)", NULL},
      {"::global", NULL, "global", NULL},
      {"memcpy@GLIBC_2.2.5", NULL, "memcpy", "GLIBC_2.2.5"},
      {"libc:memcpy@@GLIBC_2.14", "libc", "memcpy", "GLIBC_2.14"},
      {"0x1139", NULL, NULL, NULL, TRUE, 0x1139},
      {"libfoo:0xABCdef", "libfoo", NULL, NULL, TRUE, 0xabcdef},
      {"/usr/lib/libz.so.1:crc32", "/usr/lib/libz.so.1", "crc32", NULL},
      {"/usr/lib/libz.so.1+0x2a40", "/usr/lib/libz.so.1", NULL, NULL, TRUE, 0x2a40, TRUE},
      {"libstdc++.so.6+0xABC", "libstdc++.so.6", NULL, NULL, TRUE, 0xabc, TRUE},
      {"/opt/a:b+0x10", "/opt/a:b", NULL, NULL, TRUE, 0x10, TRUE},
      {"ns::operator+", NULL, "ns::operator+", NULL},
      {"libstdc++:f", "libstdc++", "f", NULL},
      {"f+0xyz", NULL, "f+0xyz", NULL},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(SymbolQuery) query = symbols_query_parse(rows[i].text, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(query->module, ==, rows[i].module);
    g_assert_cmpstr(query->name, ==, rows[i].name);
    g_assert_cmpstr(query->version, ==, rows[i].version);
    g_assert_cmpint(query->is_address, ==, rows[i].is_address);
    g_assert_cmphex(query->address, ==, rows[i].address);
    g_assert_cmpint(query->is_offset, ==, rows[i].is_offset);
  }
  static const char *const bad[] = {
      "", ":f", "lib:", "a:b:c", "0x", "0xfg", "0x11112222333344445", "lib:0x", "lib+0x11112222333344445"};
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(symbols_query_parse(bad[i], &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, "address") ? error->message
                                                       : strstr(error->message, "LIB:SYMBOL"));
  }
}

static void
test_modules(void)
{
  static const struct {
    const char *module, *path, *soname;
    gboolean means;
  } rows[] = {
      {"libsqlite3.so.0", "/usr/lib/libsqlite3.so.0.8.6", "libsqlite3.so.0", TRUE},
      {"libsqlite3.so.0.8.6", "/usr/lib/libsqlite3.so.0.8.6", NULL, TRUE},
      {"libsqlite3.so", "/usr/lib/libsqlite3.so.0.8.6", NULL, TRUE},
      {"libsqlite3", "/usr/lib/libsqlite3.so.0.8.6", NULL, TRUE},
      {"sqlite3", "/usr/lib/libsqlite3.so.0.8.6", NULL, TRUE},
      {"sqlite", "/usr/lib/libsqlite3.so.0.8.6", NULL, FALSE},
      {"libsqlite3.so.1", "/usr/lib/libsqlite3.so.0.8.6", NULL, FALSE},
      {"MagickCore", "/usr/lib/libMagickCore-6.Q16.so.6.0.0", NULL, TRUE},
      {"libMagickCore-6.Q16", "/usr/lib/libMagickCore-6.Q16.so.6.0.0", NULL, TRUE},
      {"sqlite3", "/usr/bin/sqlite3", NULL, TRUE},
      {"sqlite", "/usr/bin/sqlite3", NULL, FALSE},
      {"python3", "/usr/bin/python3.11", NULL, FALSE},
      {"/usr/lib/libz.so.1", "/usr/lib/libz.so.1", NULL, TRUE},
      {"/usr/lib/libz.so.2", "/usr/lib/libz.so.1", NULL, FALSE},
      {"z", "/usr/lib/libz.so.1", NULL, TRUE},
      {"blas", "/usr/lib/renamed", "libblas.so.3", TRUE},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autofree char *text = g_strconcat(rows[i].module, ":f", NULL);
    g_autoptr(SymbolQuery) query = symbols_query_parse(text, NULL);
    g_assert_cmpint(symbols_query_names_module(query, rows[i].path, rows[i].soname), ==, rows[i].means);
  }
}

static void
test_copies(void)
{
  static const struct {
    const char *query, *name;
    SymbolsMatch match;
  } rows[] = {
      {"work", "work", SYMBOLS_MATCH},
      {"work", "work.constprop.0", SYMBOLS_MATCH},
      {"work", "work.isra.0", SYMBOLS_MATCH},
      {"work", "work.part.0", SYMBOLS_PART},
      {"work.part.0", "work.part.0", SYMBOLS_MATCH},
      {"work", "working", SYMBOLS_NO_MATCH},
      {"work", "hard_work", SYMBOLS_NO_MATCH},
      {"ns::f", "_ZN2ns1fEi.constprop.1", SYMBOLS_MATCH},
      {"f", "_Z1fi", SYMBOLS_MATCH},
      {"f(int)", "_Z1fi", SYMBOLS_MATCH},
      {"f(long)", "_Z1fi", SYMBOLS_NO_MATCH},
      {"f", "_ZN2ns1fEi", SYMBOLS_NO_MATCH},
      {"crate::module::run", "_ZN5crate6module3run17h0123456789abcdefE", SYMBOLS_MATCH},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autoptr(SymbolQuery) query = symbols_query_parse(rows[i].query, NULL);
    g_assert_cmpint(symbols_query_matches(query, rows[i].name, NULL), ==, rows[i].match);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/symbols/demangle/texts", test_texts);
  g_test_add_func("/symbols/demangle/normalised", test_normalised);
  g_test_add_func("/symbols/demangle/bomb", test_bomb);
  g_test_add_func("/symbols/demangle/rust", test_rust);
  g_test_add_func("/symbols/demangle/lifetimes", test_lifetimes);
  g_test_add_func("/symbols/demangle/references", test_references);
  g_test_add_func("/symbols/demangle/random", test_random);
  g_test_add_func("/symbols/query/parse", test_queries);
  g_test_add_func("/symbols/query/modules", test_modules);
  g_test_add_func("/symbols/query/copies", test_copies);
  return g_test_run();
}
