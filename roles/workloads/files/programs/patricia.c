/*
 * patricia: a routing table of IPv4 prefixes, and for many addresses the longest prefix that each begins with.
 *
 * A workload of pointer chasing in the manner of the network suite of MiBench (Guthaus et al., WWC-4, 2001), written for rtvirt
 * from the idea of the Patricia trie (Morrison, JACM 15(4), 1968): a binary trie without nodes that have nothing to decide.
 * Some addresses are looked up once more by going through all prefixes.
 *
 *   rtvirt-patricia [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#include "workload.h"

#include <stdbool.h>

enum { SMALL_PREFIXES = 1500, LARGE_PREFIXES = 20000 };
enum { SMALL_ADDRESSES = 15000, LARGE_ADDRESSES = 300000 };
enum { SMALL_SAMPLES = 600, LARGE_SAMPLES = 200 }; /* to search through all prefixes takes long */
enum { NO_ROUTE = 0, ADDRESS_BITS = 32 };

struct prefix {
    uint32_t bits; /* those beyond the length are 0 */
    unsigned length;
};

struct node {
    struct prefix prefix;
    uint32_t route; /* NO_ROUTE: only a fork */
    struct node *child[2];
};

static struct prefix prefixes[LARGE_PREFIXES]; /* route i + 1 leads to prefix i */
static uint32_t addresses[LARGE_ADDRESSES], routes[LARGE_ADDRESSES];
static uint32_t prefix_count, address_count, sample_count;

static struct node nodes[2 * LARGE_PREFIXES], *root;
static uint32_t node_count;

static uint32_t first_bits(uint32_t address, unsigned length)
{
    return length ? address & UINT32_MAX << (ADDRESS_BITS - length) : 0;
}

static bool begins_with(uint32_t address, struct prefix prefix)
{
    return first_bits(address, prefix.length) == prefix.bits;
}

static unsigned bit_at(uint32_t address, unsigned position)
{
    return address >> (ADDRESS_BITS - 1 - position) & 1;
}

static unsigned common_length(struct prefix a, struct prefix b)
{
    unsigned length = 0, shorter = a.length < b.length ? a.length : b.length;
    while (length < shorter && bit_at(a.bits, length) == bit_at(b.bits, length))
        length++;
    return length;
}

static struct node *new_node(struct prefix prefix, uint32_t route)
{
    struct node *node = &nodes[node_count++];
    *node = (struct node){prefix, route, {NULL, NULL}};
    return node;
}

/* Put a new prefix between a link and what is below it: above all of that, or beside it under a fork. */
static void insert_above(struct node **link, struct prefix prefix, uint32_t route)
{
    struct node *below = *link, *leaf = new_node(prefix, route);
    *link = leaf;
    if (!below)
        return;
    unsigned common = common_length(below->prefix, prefix);
    if (common < prefix.length) {
        *link = new_node((struct prefix){first_bits(prefix.bits, common), common}, NO_ROUTE);
        (*link)->child[bit_at(prefix.bits, common)] = leaf;
    }
    (*link)->child[bit_at(below->prefix.bits, common)] = below;
}

/* Of routes to the same prefix the last one counts. */
static void insert(struct prefix prefix, uint32_t route)
{
    struct node **link = &root;
    while (*link && (*link)->prefix.length < prefix.length && begins_with(prefix.bits, (*link)->prefix))
        link = &(*link)->child[bit_at(prefix.bits, (*link)->prefix.length)];
    if (*link && (*link)->prefix.length == prefix.length && (*link)->prefix.bits == prefix.bits)
        (*link)->route = route;
    else
        insert_above(link, prefix, route);
}

static uint32_t look_up(uint32_t address)
{
    uint32_t route = NO_ROUTE;
    for (const struct node *node = root; node && begins_with(address, node->prefix);) {
        if (node->route != NO_ROUTE)
            route = node->route;
        node = node->prefix.length < ADDRESS_BITS ? node->child[bit_at(address, node->prefix.length)] : NULL;
    }
    return route;
}

/* Most prefixes have 16 to 24 bits and some more lie within another one, as in routing tables. */
static struct prefix random_prefix(uint32_t *state, uint32_t index)
{
    unsigned length = random_below(state, 4) ? 16 + random_below(state, 9) : 8 + random_below(state, 25);
    uint32_t bits = random_next(state);
    if (index > 0 && random_below(state, 2)) {
        struct prefix outer = prefixes[random_below(state, index)];
        bits = outer.bits | (bits ^ first_bits(bits, outer.length));
    }
    return (struct prefix){first_bits(bits, length), length};
}

static void setup(enum workload_size size, uint32_t seed)
{
    prefix_count = size == SMALL ? SMALL_PREFIXES : LARGE_PREFIXES;
    address_count = size == SMALL ? SMALL_ADDRESSES : LARGE_ADDRESSES;
    sample_count = size == SMALL ? SMALL_SAMPLES : LARGE_SAMPLES;
    for (uint32_t i = 0; i < prefix_count; i++)
        prefixes[i] = random_prefix(&seed, i);
    for (uint32_t i = 0; i < address_count; i++) {
        addresses[i] = random_next(&seed);
        if (random_below(&seed, 8)) { /* most lie in some prefix */
            struct prefix prefix = prefixes[random_below(&seed, prefix_count)];
            addresses[i] = prefix.bits | (addresses[i] ^ first_bits(addresses[i], prefix.length));
        }
    }
}

static uint64_t iterate(void)
{
    uint64_t digest = DIGEST_START;
    root = NULL;
    node_count = 0;
    for (uint32_t i = 0; i < prefix_count; i++)
        insert(prefixes[i], i + 1);
    for (uint32_t i = 0; i < address_count; i++) {
        routes[i] = look_up(addresses[i]);
        digest = digest_u32(digest, routes[i]);
    }
    return digest;
}

static uint32_t search_all(uint32_t address)
{
    uint32_t route = NO_ROUTE;
    for (uint32_t i = 0; i < prefix_count; i++)
        if (begins_with(address, prefixes[i]) && (route == NO_ROUTE || prefixes[i].length >= prefixes[route - 1].length))
            route = i + 1;
    return route;
}

static void check(void)
{
    for (uint32_t i = 0; i < address_count; i += address_count / sample_count)
        if (routes[i] != search_all(addresses[i]))
            workload_wrong("address %08lx goes by route %lu, but its longest prefix is that of route %lu.",
                           (unsigned long)addresses[i], (unsigned long)routes[i], (unsigned long)search_all(addresses[i]));
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "patricia",
        .summary = "Enters IPv4 prefixes into a Patricia trie and looks up addresses, each by its longest prefix. Checks some\n"
                   "of them by going through all prefixes.",
        .inputs = {"1500 prefixes, 15000 addresses", "20000 prefixes, 300000 addresses"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0xc6a5621e19ff2c5a), UINT64_C(0x06d6616355f5a703)},
    };
    return workload_main(&workload, argc, argv);
}
