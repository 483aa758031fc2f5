#include "tcp_reset.h"

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>

static guint32
sum_words(guint32 sum, const void *data, gsize length)
{
  const guint8 *bytes = data;
  for (gsize i = 0; i + 1 < length; i += 2)
    sum += (guint32)bytes[i] << 8 | bytes[i + 1];
  return sum;
}

static guint16
fold(guint32 sum)
{
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return htons((guint16)~sum);
}

/* Makes the segment a bare RST with the same sequence number; the checksum covers the pseudo header
 * `addresses`. */
static void
rewrite(struct tcphdr *tcp, const void *addresses, gsize addresses_length)
{
  tcp->rst = 1;
  tcp->psh = tcp->fin = tcp->urg = 0;
  tcp->doff = sizeof *tcp / 4;
  tcp->window = 0;
  tcp->check = 0;
  guint32 sum = sum_words(IPPROTO_TCP + sizeof *tcp, addresses, addresses_length);
  tcp->check = fold(sum_words(sum, tcp, sizeof *tcp));
}

static gsize
reset_ipv4(guint8 *packet, gsize length)
{
  struct iphdr *ip = (struct iphdr *)(void *)packet;
  gsize header = ip->ihl * 4u;
  if (header < sizeof *ip || length < header + sizeof(struct tcphdr) || ip->protocol != IPPROTO_TCP)
    return length;
  struct tcphdr *tcp = (struct tcphdr *)(void *)(packet + header);
  if (tcp->syn || tcp->rst)
    return length;
  rewrite(tcp, &ip->saddr, 8);
  ip->tot_len = htons((guint16)(header + sizeof *tcp));
  ip->check = 0;
  ip->check = fold(sum_words(0, ip, header));
  return header + sizeof *tcp;
}

static gsize
reset_ipv6(guint8 *packet, gsize length)
{
  struct ip6_hdr *ip = (struct ip6_hdr *)(void *)packet;
  if (length < sizeof *ip + sizeof(struct tcphdr) || ip->ip6_nxt != IPPROTO_TCP)
    return length;
  struct tcphdr *tcp = (struct tcphdr *)(void *)(packet + sizeof *ip);
  if (tcp->syn || tcp->rst)
    return length;
  rewrite(tcp, &ip->ip6_src, 32);
  ip->ip6_plen = htons(sizeof *tcp);
  return sizeof *ip + sizeof *tcp;
}

static void
swap(guint8 *a, guint8 *b, gsize length)
{
  for (gsize i = 0; i < length; i++) {
    guint8 kept = a[i];
    a[i] = b[i];
    b[i] = kept;
  }
}

gsize
tcp_reset_reply(const guint8 *packet, gsize length, guint8 *reply)
{
  gsize header = length && packet[0] >> 4 == 6 ? sizeof(struct ip6_hdr) : (packet[0] & 15) * 4u;
  if (length < sizeof(struct iphdr) || length < header + sizeof(struct tcphdr))
    return 0;
  memcpy(reply, packet, length);
  struct tcphdr *tcp = (struct tcphdr *)(void *)(reply + header);
  if (!tcp->ack || tcp->syn || tcp->rst)
    return 0;
  swap((guint8 *)&tcp->source, (guint8 *)&tcp->dest, sizeof tcp->source);
  if (packet[0] >> 4 == 6)
    swap(reply + 8, reply + 24, 16);
  else
    swap(reply + 12, reply + 16, 4);
  tcp->seq = tcp->ack_seq;
  tcp->ack_seq = 0;
  tcp->ack = 0;
  gsize made = tcp_reset(reply, length);
  return made < length || tcp->rst ? made : 0;
}

gsize
tcp_reset(guint8 *packet, gsize length)
{
  if (length >= sizeof(struct iphdr) && packet[0] >> 4 == 4)
    return reset_ipv4(packet, length);
  if (length >= sizeof(struct ip6_hdr) && packet[0] >> 4 == 6)
    return reset_ipv6(packet, length);
  return length;
}
