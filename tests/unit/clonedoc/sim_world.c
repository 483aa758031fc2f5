#include "sim_world.h"

/* Of three and four bytes of UTF-8. */
gunichar
sim_letter(guint number)
{
  return number % 2 ? 0x4e00 + number / 2 % 0x5000 + number / 2 / 0x5000 * 0x10000 : 0x100000 + number / 2;
}

static void
hear(gpointer data, SimLink *link, guint end, SimWhat what, GBytes *message)
{
  SimWorld *world = data;
  if (link->kind == TO_SERVER && end == 0)
    sim_clone_hear_server(world, link, what, message);
  else if (link->kind == TO_SERVER)
    sim_server_hear(world, link, what, message);
  else if (end == 0)
    sim_device_hear(world, link, what, message);
  else
    sim_clone_hear_device(world, link, what, message);
}

static void
hear_post(gpointer data, guint to, GBytes *message)
{
  sim_clone_hear_head(data, to, message);
}

/* ---- beginning ---- */

static void
publish(SimWorld *world, SimClone *clone, GBytes *entry)
{
  sim_server_take(&world->server, entry);
  sim_clone_take(world, clone, doc_document_number(clone->doc) + 1, entry);
  g_bytes_unref(entry);
}

/* The first clone's document, in which all write. */
static void
found(SimWorld *world)
{
  SimClone *owner = &world->clones[0];
  owner->doc = doc_document_create(owner->key, identity_key_public(owner->user));
  sim_server_init(&world->server, doc_document_name(owner->doc));
  publish(world, owner, doc_document_flight(owner->doc));
  for (guint i = 1; i < SIM_USERS; i++) {
    const SimClone *clone = &world->clones[i];
    DocMember member = {*identity_key_public(clone->user), *identity_key_public(clone->key), DOC_WRITER};
    g_assert_true(doc_document_change(owner->doc, &member, 1, NULL));
    publish(world, owner, doc_document_submit(owner->doc));
  }
}

static void
join(SimWorld *world, SimClone *clone)
{
  clone->doc = doc_document_join(&world->server.document, clone->key, NULL, 0, NULL);
  for (guint i = 0; i < world->server.entries->len; i++)
    sim_clone_take(world, clone, i + 1, world->server.entries->pdata[i]);
}

SimWorld *
sim_world_new(guint32 seed, SimCounts *counts)
{
  SimWorld *world = g_new0(SimWorld, 1);
  world->rand = g_rand_new_with_seed(seed);
  world->counts = counts;
  sim_net_init(&world->net, world->rand, hear, hear_post, world);
  for (guint i = 0; i < SIM_USERS; i++) {
    sim_device_init(&world->devices[i]);
    sim_clone_init(&world->clones[i], i);
  }
  found(world);
  for (guint i = 1; i < SIM_USERS; i++)
    join(world, &world->clones[i]);
  for (guint i = 0; i < SIM_USERS; i++)
    sim_clone_save(world, &world->clones[i]);
  return world;
}

void
sim_world_free(SimWorld *world)
{
  world->counts->typed += world->next_letter;
  world->counts->entries += world->server.entries->len;
  for (guint i = 0; i < SIM_USERS; i++) {
    sim_device_clear(&world->devices[i]);
    sim_clone_clear(&world->clones[i]);
  }
  sim_server_clear(&world->server);
  sim_net_clear(&world->net);
  g_rand_free(world->rand);
  g_free(world);
}

/* ---- going on ---- */

void
sim_world_step(SimWorld *world)
{
  sim_net_step(&world->net);
  guint first = sim_pick(&world->net, SIM_USERS);
  for (guint i = 0; i < SIM_USERS; i++) {
    sim_device_step(world, (first + i) % SIM_USERS);
    sim_clone_step(world, (first + i) % SIM_USERS);
  }
  sim_server_step(world);
}

static void
disturb_links(SimWorld *world)
{
  SimNet *net = &world->net;
  /* All at once, at times. */
  gboolean storm = sim_chance(net, 300);
  for (guint i = 0; i < net->links->len; i++) {
    if (storm || sim_chance(net, 500)) {
      sim_link_cut(net, net->links->pdata[i]);
      world->counts->cuts++;
    } else if (sim_chance(net, 500)) {
      sim_link_stall(net, net->links->pdata[i], sim_pick(net, 120));
      world->counts->stalls++;
    }
  }
}

void
sim_world_disturb(SimWorld *world)
{
  SimNet *net = &world->net;
  disturb_links(world);
  if (sim_chance(net, 20))
    sim_device_roam(world, sim_pick(net, SIM_USERS));
  if (sim_chance(net, 80))
    sim_device_kill(world, sim_pick(net, SIM_USERS));
  if (sim_chance(net, 80))
    sim_clone_kill(world, sim_pick(net, SIM_USERS));
  if (sim_chance(net, 300))
    sim_server_kill(world);
  if (sim_chance(net, 60))
    sim_clone_change(world);
}

gboolean
sim_world_is_settled(SimWorld *world)
{
  const SimServer *server = &world->server;
  gboolean settled = server->history && server->asked.length == 0 && sim_net_is_quiet(&world->net);
  for (guint i = 0; settled && i < SIM_USERS; i++) {
    const SimDevice *device = &world->devices[i];
    const SimClone *clone = &world->clones[i];
    settled = device->link && clone->up && clone->down && doc_pair_is_settled(device->pair) &&
              doc_pair_is_settled(clone->pair) && doc_document_is_settled(clone->doc) &&
              doc_document_number(clone->doc) == server->entries->len;
  }
  return settled;
}
