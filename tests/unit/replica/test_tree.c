/* The index of what the clone was told, and the rules of what it is told at all. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/tree_index.h"
#include "replica/tree_rules.h"

typedef struct {
  char *directory, *path;
  TreeIndex *index;
} Fixture;

static void
open_index(Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  fixture->index = tree_index_open(fixture->path, &error);
  g_assert_no_error(error);
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
  fixture->directory = g_dir_make_tmp("doppel-tree-XXXXXX", NULL);
  fixture->path = g_build_filename(fixture->directory, "index", NULL);
  open_index(fixture);
}

static void
tear_down(Fixture *fixture, gconstpointer unused)
{
  tree_index_free(fixture->index);
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", fixture->directory);
  g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
  g_free(fixture->path);
  g_free(fixture->directory);
}

/* Kills are survived: what was saved is there. */
static void
reopen(Fixture *fixture)
{
  tree_index_free(fixture->index);
  open_index(fixture);
}

static void
describe(TreeIndex *index, gint64 parent, const char *prefix, GString *text)
{
  g_autoptr(GArray) children = tree_index_children(index, parent);
  for (guint i = 0; i < children->len; i++) {
    const TreeNode *node = &g_array_index(children, TreeNode, i);
    g_autofree char *path = g_strconcat(prefix, "/", node->name, NULL);
    g_autofree char *known = tree_index_path(index, node->id);
    g_string_append_printf(text, "%s %" G_GINT64_FORMAT " %d %o %" G_GUINT64_FORMAT " %s %d %u %d\n", path,
                           node->id, node->facts.type, node->facts.mode, node->facts.size,
                           node->facts.target ? node->facts.target : "-", node->hashed, node->content[0],
                           node->facts.xattrs ? (int)g_bytes_get_size(node->facts.xattrs) : -1);
    if (parent != TREE_HOLD && parent != TREE_GONE && known) {
      g_assert_cmpstr(known, ==, path + 1);
      g_assert_cmpint(tree_index_find(index, known), ==, node->id);
    }
    describe(index, node->id, path, text);
  }
}

static char *
description(TreeIndex *index)
{
  GString *text = g_string_new("");
  describe(index, TREE_ROOT, "", text);
  g_string_append(text, "held\n");
  describe(index, TREE_HOLD, "", text);
  return g_string_free(text, FALSE);
}

static gint64
random_node(TreeIndex *index, GRand *rand, gboolean directory)
{
  gint64 at = TREE_ROOT, found = directory ? TREE_ROOT : TREE_NONE;
  for (;;) {
    g_autoptr(GArray) children = tree_index_children(index, at);
    if (children->len == 0)
      return found;
    const TreeNode *node =
        &g_array_index(children, TreeNode, g_rand_int_range(rand, 0, (gint32)children->len));
    if (directory && node->facts.type != REPLICA_DIRECTORY)
      return found;
    found = at = node->id;
    if (g_rand_int_range(rand, 0, 3) == 0)
      return found;
  }
}

static gboolean
is_in(TreeIndex *index, gint64 node, gint64 in)
{
  while (node > TREE_GONE && node != in) {
    g_auto(TreeNode) at = {0};
    g_assert_true(tree_index_node(index, node, &at));
    node = at.parent;
  }
  return node == in;
}

static void
put_random(TreeIndex *index, GRand *rand, guint64 number)
{
  g_autofree char *name = g_strdup_printf("%u\xff", g_rand_int_range(rand, 0, 12));
  gint64 parent = random_node(index, rand, TRUE);
  g_auto(TreeNode) there = {0};
  gboolean is_there = tree_index_child(index, parent, name, &there);
  TreeNode node = {.id = there.id, .parent = parent, .name = name};
  node.facts.type = is_there ? there.facts.type : g_rand_int_range(rand, REPLICA_FILE, REPLICA_FIFO);
  node.facts.mode = g_rand_int_range(rand, 0, 010000);
  node.facts.ino = g_rand_int_range(rand, 1, 100);
  if (node.facts.type == REPLICA_FILE) {
    node.facts.size = g_rand_int_range(rand, 0, 5000);
    node.hashed = TRUE;
    memset(node.content, g_rand_int_range(rand, 0, 256), sizeof node.content);
  }
  if (node.facts.type == REPLICA_SYMLINK)
    node.facts.target = name;
  g_autoptr(GBytes) xattrs = g_rand_boolean(rand) ? g_bytes_new_static("12", 2) : NULL;
  node.facts.xattrs = xattrs;
  gint64 id = tree_index_put(index, number, &node);
  g_assert_true(!is_there || id == there.id);
}

static void
change_random(TreeIndex *index, GRand *rand, guint64 number)
{
  g_autofree char *name = g_strdup_printf("%u", g_rand_int_range(rand, 100, 1000000));
  gint64 node = random_node(index, rand, FALSE), to = random_node(index, rand, TRUE);
  guint kind = g_rand_int_range(rand, 0, 8);
  if (kind < 5 || node == TREE_NONE)
    put_random(index, rand, number);
  else if (kind == 5)
    tree_index_remove(index, number, node);
  else if (kind == 6)
    tree_index_move(index, number, node, TREE_HOLD, name);
  else if (!is_in(index, to, node))
    tree_index_move(index, number, node, to, name);
  else
    tree_index_told(index, number);
}

/* Whatever was told can be taken back, to any step since the last durable one. */
static void
test_back(Fixture *fixture, gconstpointer unused)
{
  for (guint32 seed = 1; seed <= 20; seed++) {
    g_test_message("seed %u", seed);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(GPtrArray) states = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_ptr_array_add(states, description(fixture->index));
    guint64 number = 0, durable = 0;
    for (guint round = 0; round < 10; round++) {
      for (guint i = g_rand_int_range(rand, 1, 30); i > 0; i--) {
        change_random(fixture->index, rand, ++number);
        if (g_rand_boolean(rand))
          change_random(fixture->index, rand, number);
        g_ptr_array_add(states, description(fixture->index));
      }
      g_assert_true(tree_index_save(fixture->index, &error));
      reopen(fixture);
      if (g_rand_boolean(rand)) {
        durable = g_rand_int_range(rand, durable, number + 1);
        tree_index_durable(fixture->index, durable);
      }
      number = g_rand_int_range(rand, durable, number + 1);
      g_assert_false(tree_index_back_to(fixture->index, states->len + 5));
      g_assert_true(durable == 0 || !tree_index_back_to(fixture->index, durable - 1));
      g_assert_true(tree_index_back_to(fixture->index, number));
      g_autofree char *now = description(fixture->index);
      g_assert_cmpstr(now, ==, states->pdata[number]);
      g_ptr_array_set_size(states, number + 1);
    }
    tree_index_committed(fixture->index);
    g_assert_true(tree_index_save(fixture->index, &error));
    reopen(fixture);
    g_autoptr(GArray) held = tree_index_children(fixture->index, TREE_HOLD);
    g_assert_cmpuint(held->len, ==, 0);
  }
}

static gint64
put_file(TreeIndex *index, guint64 number, gint64 id, const char *name, guint8 content)
{
  TreeNode node = {.id = id, .parent = TREE_ROOT, .name = (char *)name, .hashed = TRUE};
  node.facts.type = REPLICA_FILE;
  node.facts.size = 5000;
  memset(node.content, content, sizeof node.content);
  return tree_index_put(index, number, &node);
}

static Signature *
signature_of(guint8 content)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  memset(hash, content, sizeof hash);
  g_autoptr(GBytes) sums = g_bytes_new_static("01234567890123456789012345678901234567890123456789", 50);
  return signature_new(hash, 5000, 1024, sums);
}

static gboolean
has_signature(TreeIndex *index, gint64 id, guint8 content)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  memset(hash, content, sizeof hash);
  g_autoptr(Signature) signature = tree_index_signature(index, id, hash);
  return signature != NULL;
}

/* The old content's signature is kept for as long as the step that replaced it can be taken back. */
static void
test_signatures(Fixture *fixture, gconstpointer unused)
{
  TreeIndex *index = fixture->index;
  g_autoptr(Signature) first = signature_of(1), second = signature_of(2);
  gint64 id = put_file(index, 1, TREE_NONE, "a", 1);
  tree_index_sign(index, id, first);
  g_assert_cmpint(tree_index_content(index, 5000, first->hash), ==, id);
  tree_index_durable(index, 1);
  put_file(index, 2, id, "a", 2);
  tree_index_sign(index, id, second);
  g_assert_true(has_signature(index, id, 1) && has_signature(index, id, 2));
  g_assert_true(tree_index_back_to(index, 1));
  g_assert_true(has_signature(index, id, 1));
  put_file(index, 2, id, "a", 2);
  tree_index_sign(index, id, second);
  tree_index_durable(index, 2);
  g_assert_true(!has_signature(index, id, 1) && has_signature(index, id, 2));
  g_assert_cmpint(tree_index_content(index, 5000, first->hash), ==, TREE_NONE);
  tree_index_remove(index, 3, id);
  g_assert_cmpint(tree_index_content(index, 5000, second->hash), ==, TREE_NONE);
  tree_index_committed(index);
  g_assert_false(has_signature(index, id, 2));
}

/* An index of two directories of many files, which come in packs: each file has the content and the inode of
 * its number modulo 100, and number 7 attributes that no pack has room for. */
#define PACKED      300
#define PACKED_KIND 100

static gint64
put_numbered(TreeIndex *index, guint64 step, gint64 id, gint64 parent, guint number, guint kind)
{
  g_autofree char *name = g_strdup_printf("file%04u", number);
  g_autoptr(GBytes) xattrs = number == 7 ? g_bytes_new_take(g_malloc0(5000), 5000) : NULL;
  TreeNode node = {.id = id, .parent = parent, .name = name, .hashed = TRUE};
  node.facts = (ReplicaFacts){
      .type = REPLICA_FILE, .size = 2000 + kind, .dev = 3, .ino = 1000 + kind, .nlink = 3, .xattrs = xattrs};
  memset(node.content, kind, sizeof node.content);
  return tree_index_put(index, step, &node);
}

static gint64
put_directory(TreeIndex *index, guint64 step, gint64 parent, const char *name)
{
  TreeNode node = {.parent = parent, .name = (char *)name};
  node.facts.type = REPLICA_DIRECTORY;
  return tree_index_put(index, step, &node);
}

/* A content of each kind, three names of each inode; `of_kind_5` of that one. */
static void
check_packed(TreeIndex *index, guint of_kind_5)
{
  for (guint kind = 0; kind < PACKED_KIND; kind++) {
    guint8 hash[GENERATION_CONTENT_HASH];
    memset(hash, kind, sizeof hash);
    g_autoptr(GArray) names = tree_index_inode(index, 3, 1000 + kind);
    g_autoptr(GArray) others = tree_index_inode(index, 4, 1000 + kind);
    guint expected = kind == 5 ? of_kind_5 : PACKED / PACKED_KIND;
    g_assert_cmpuint(names->len, ==, expected);
    g_assert_cmpuint(others->len, ==, 0);
    g_assert_true(tree_index_has_size(index, 2000 + kind) || expected == 0);
    g_auto(TreeNode) node = {0};
    gint64 id = tree_index_content(index, 2000 + kind, hash);
    g_assert_true((id != TREE_NONE) == (expected > 0));
    g_assert_true(id == TREE_NONE ||
                  (tree_index_node(index, id, &node) && node.facts.ino == 1000 + kind && node.hashed));
  }
  g_assert_false(tree_index_has_size(index, 1999));
}

static guint
children_in_order(TreeIndex *index, gint64 parent)
{
  g_autoptr(GArray) children = tree_index_children(index, parent);
  for (guint i = 1; i < children->len; i++)
    g_assert_cmpstr(g_array_index(children, TreeNode, i - 1).name, <,
                    g_array_index(children, TreeNode, i).name);
  return children->len;
}

static void
test_packs(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  guint64 step = 0;
  put_directory(fixture->index, ++step, TREE_NONE, "");
  gint64 even = put_directory(fixture->index, ++step, TREE_ROOT, "even");
  gint64 odd = put_directory(fixture->index, ++step, TREE_ROOT, "odd");
  gint64 ids[PACKED];
  for (guint i = 0; i < PACKED; i++) {
    ids[i] = put_numbered(fixture->index, ++step, TREE_NONE, i / 20 % 2 ? odd : even, i, i % PACKED_KIND);
    if (i % 50 == 0)
      g_assert_true(tree_index_save(fixture->index, &error));
  }
  check_packed(fixture->index, 3);
  g_assert_true(tree_index_save(fixture->index, &error));
  reopen(fixture); /* as a cut leaves it */
  check_packed(fixture->index, 3);
  g_assert_cmpuint(tree_index_count(fixture->index), ==, PACKED + 2);
  g_assert_cmpuint(children_in_order(fixture->index, odd), ==, PACKED / 2 - 10);
  g_autofree char *all = description(fixture->index);
  tree_index_put(fixture->index, ++step, &(TreeNode){.parent = even, .name = (char *)"new"});
  put_numbered(fixture->index, ++step, ids[200], even, 200, 5);
  tree_index_remove(fixture->index, ++step, ids[201]);
  tree_index_remove(fixture->index, ++step, odd);
  g_assert_true(tree_index_back_to(fixture->index, step - 4));
  g_autofree char *back = description(fixture->index);
  g_assert_cmpstr(all, ==, back);
  g_assert_true(tree_index_back_to(fixture->index, step - 4 - 50));
  g_assert_cmpuint(tree_index_count(fixture->index), ==, PACKED + 2 - 50);
  for (guint i = PACKED - 50; i < PACKED; i++)
    ids[i] = put_numbered(fixture->index, step - 54 + i - 249, TREE_NONE, i / 20 % 2 ? odd : even, i,
                          i % PACKED_KIND);
  tree_index_committed(fixture->index);
  check_packed(fixture->index, 3);
  g_assert_true(tree_index_save(fixture->index, &error));
  reopen(fixture);
  check_packed(fixture->index, 3);
  put_numbered(fixture->index, 1, ids[200], even, 200, 5);
  g_assert_cmpint(tree_index_content(fixture->index, 2000, (guint8[GENERATION_CONTENT_HASH]){0}), !=,
                  ids[200]);
  put_numbered(fixture->index, 2, ids[200], even, 200, 0);
  tree_index_move(fixture->index, 3, ids[5], TREE_GONE, "5");
  check_packed(fixture->index, 2);
  g_assert_cmpuint(tree_index_count(fixture->index), ==, PACKED + 1);
}

/* What is in a removed directory goes with it, and its signatures. */
static void
test_packs_aside(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Signature) signature = signature_of(1);
  put_directory(fixture->index, 1, TREE_NONE, "");
  gint64 directory = put_directory(fixture->index, 2, TREE_ROOT, "directory"), id = TREE_NONE;
  for (guint i = 0; i < 100; i++)
    id = put_numbered(fixture->index, 3 + i, TREE_NONE, directory, i, 1);
  tree_index_sign(fixture->index, id, signature);
  tree_index_committed(fixture->index);
  g_assert_true(tree_index_save(fixture->index, &error));
  reopen(fixture);
  g_assert_cmpuint(tree_index_count(fixture->index), ==, 101);
  g_assert_true(has_signature(fixture->index, id, 1));
  tree_index_remove(fixture->index, 1, directory);
  g_assert_cmpuint(tree_index_count(fixture->index), ==, 0);
  tree_index_committed(fixture->index);
  g_auto(TreeNode) node = {0};
  g_assert_false(tree_index_node(fixture->index, id, &node));
  g_assert_false(has_signature(fixture->index, id, 1));
  g_assert_cmpuint(tree_index_count(fixture->index), ==, 0);
}

static void
test_things(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) value = g_bytes_new_static("a\0b", 3);
  guint8 secret[SIGNATURE_SECRET];
  memcpy(secret, tree_index_key(fixture->index)->secret, sizeof secret);
  g_assert_null(tree_index_get(fixture->index, "clone"));
  tree_index_set(fixture->index, "clone", value);
  TreePart part = {.path = (char *)"p", .number = 3, .position = 7, .size = 9};
  tree_index_put_part(fixture->index, &part);
  g_assert_true(tree_index_save(fixture->index, &error));
  reopen(fixture);
  g_autoptr(GBytes) back = tree_index_get(fixture->index, "clone");
  g_assert_true(back && g_bytes_equal(back, value));
  g_assert_cmpmem(secret, sizeof secret, tree_index_key(fixture->index)->secret, sizeof secret);
  g_auto(TreePart) had = {0};
  g_assert_true(tree_index_part(fixture->index, &had));
  g_assert_true(had.number == 3 && had.position == 7 && had.size == 9 && strcmp(had.path, "p") == 0);
}

static void
test_damaged(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  tree_index_free(fixture->index);
  g_assert_true(
      g_file_set_contents(fixture->path, "this is no database, and long enough to be seen", -1, NULL));
  fixture->index = tree_index_open(fixture->path, &error);
  g_assert_null(fixture->index);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  g_assert_cmpint(g_unlink(fixture->path), ==, 0);
  open_index(fixture);
}

static void
test_rules(void)
{
  static const char lines[] = "# caches\n\n*.o\n!keep.o\n/top\nbuild/\nsrc/*.c\nlogs/**/*.gz\n[ab]?\n\\!odd\n"
                              "x[!0-9]\n**/deep/end\n";
  static const struct {
    const char *path;
    gboolean is_directory, omitted;
  } cases[] = {
      {"home/u/.local/state/doppel", TRUE, TRUE},
      {".local/state/doppel", TRUE, TRUE},
      {"var/lib/doppeld", TRUE, TRUE},
      {"var/lib/doppel", TRUE, FALSE},
      {"a.o", FALSE, TRUE},
      {"d/a.o", FALSE, TRUE},
      {"d/keep.o", FALSE, FALSE},
      {"top", FALSE, TRUE},
      {"d/top", FALSE, FALSE},
      {"d/build", TRUE, TRUE},
      {"d/build", FALSE, FALSE},
      {"src/a.c", FALSE, TRUE},
      {"src/d/a.c", FALSE, FALSE},
      {"d/src/a.c", FALSE, FALSE},
      {"logs/a/b/c.gz", FALSE, TRUE},
      {"logs/c.gz", FALSE, TRUE},
      {"logs/c.txt", FALSE, FALSE},
      {"az", FALSE, TRUE},
      {"cz", FALSE, FALSE},
      {"azz", FALSE, FALSE},
      {"!odd", FALSE, TRUE},
      {"xa", FALSE, TRUE},
      {"x5", FALSE, FALSE},
      {"deep/end", FALSE, TRUE},
      {"a/b/deep/end", FALSE, TRUE},
      {"home/me/.cache", TRUE, FALSE},
      {"home/me/.cache/x", TRUE, TRUE},
      {"proc", TRUE, FALSE},
      {"proc/1", TRUE, TRUE},
      {"d/proc/1", TRUE, FALSE},
      {"tmp/x", FALSE, TRUE},
      {"lost+found", TRUE, TRUE},
      {"lost+found", FALSE, FALSE},
  };
  g_autoptr(TreeRules) rules = tree_rules_new();
  g_autoptr(GError) error = NULL;
  g_autofree char *file = g_build_filename(g_get_tmp_dir(), "doppel-rules-XXXXXX", NULL);
  close(g_mkstemp(file));
  g_assert_true(g_file_set_contents(file, lines, -1, NULL));
  g_assert_true(tree_rules_load(rules, file, &error));
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    const char *why = NULL;
    if (tree_rules_omit(rules, cases[i].path, cases[i].is_directory, &why) != cases[i].omitted)
      g_error("%s should%s be omitted", cases[i].path, cases[i].omitted ? "" : " not");
    g_assert_true((why != NULL) == cases[i].omitted);
  }
  const char *why = NULL;
  g_autofree char *expected = g_strdup_printf("*.o (%s:3)", file);
  g_assert_true(tree_rules_omit(rules, "d/a.o", FALSE, &why));
  g_assert_cmpstr(why, ==, expected);
  g_assert_true(tree_rules_omit(rules, "proc/1", TRUE, &why));
  g_assert_cmpstr(why, ==, "/proc/* (built in)");
  g_unlink(file);
  g_assert_true(tree_rules_load(rules, file, &error));
  g_assert_false(tree_rules_load(rules, g_get_tmp_dir(), &error));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/replica/tree/index/back", Fixture, NULL, set_up, test_back, tear_down);
  g_test_add("/replica/tree/index/signatures", Fixture, NULL, set_up, test_signatures, tear_down);
  g_test_add("/replica/tree/index/packs", Fixture, NULL, set_up, test_packs, tear_down);
  g_test_add("/replica/tree/index/packs_aside", Fixture, NULL, set_up, test_packs_aside, tear_down);
  g_test_add("/replica/tree/index/things", Fixture, NULL, set_up, test_things, tear_down);
  g_test_add("/replica/tree/index/damaged", Fixture, NULL, set_up, test_damaged, tear_down);
  g_test_add_func("/replica/tree/rules", test_rules);
  return g_test_run();
}
