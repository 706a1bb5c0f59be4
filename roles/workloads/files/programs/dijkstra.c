/*
 * dijkstra: the shortest paths from some nodes of a dense graph to all others.
 *
 * A workload of table walks in the manner of the network suite of MiBench (Guthaus et al., WWC-4, 2001), written for rtvirt
 * from the algorithm (Dijkstra, Numerische Mathematik 1, 1959) on an adjacency matrix. Distances are right if no edge is a
 * shortcut and each path is as long as its distance.
 *
 *   rtvirt-dijkstra [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#include "workload.h"

#include <stdbool.h>

enum { SMALL_NODES = 100, LARGE_NODES = 400 };
enum { SMALL_SOURCES = 30, LARGE_SOURCES = 60 };
enum { LONGEST_EDGE = 1000 };

struct paths {
    uint32_t distance[LARGE_NODES];
    uint32_t previous[LARGE_NODES]; /* the node before each on its path; the source's is itself */
};

static uint32_t length[LARGE_NODES][LARGE_NODES];
static struct paths answers[LARGE_SOURCES];
static uint32_t node_count, source_count;

static uint32_t source_of(uint32_t answer)
{
    return answer * node_count / source_count;
}

static uint32_t nearest(const struct paths *paths, const bool *settled)
{
    uint32_t best = node_count;
    for (uint32_t node = 0; node < node_count; node++)
        if (!settled[node] && (best == node_count || paths->distance[node] < paths->distance[best]))
            best = node;
    return best;
}

static void relax_edges(struct paths *paths, uint32_t node)
{
    for (uint32_t next = 0; next < node_count; next++) {
        uint32_t distance = paths->distance[node] + length[node][next];
        if (distance < paths->distance[next]) {
            paths->distance[next] = distance;
            paths->previous[next] = node;
        }
    }
}

static void find_paths(struct paths *paths, uint32_t source)
{
    bool settled[LARGE_NODES] = {false};
    for (uint32_t node = 0; node < node_count; node++) {
        paths->distance[node] = UINT32_MAX;
        paths->previous[node] = node;
    }
    paths->distance[source] = 0;
    for (uint32_t step = 0; step < node_count; step++) {
        uint32_t node = nearest(paths, settled);
        settled[node] = true;
        relax_edges(paths, node);
    }
}

static void setup(enum workload_size size, uint32_t seed)
{
    node_count = size == SMALL ? SMALL_NODES : LARGE_NODES;
    source_count = size == SMALL ? SMALL_SOURCES : LARGE_SOURCES;
    for (uint32_t from = 0; from < node_count; from++)
        for (uint32_t to = 0; to < node_count; to++)
            length[from][to] = 1 + random_below(&seed, LONGEST_EDGE);
}

static uint64_t iterate(void)
{
    uint64_t digest = DIGEST_START;
    for (uint32_t i = 0; i < source_count; i++) {
        find_paths(&answers[i], source_of(i));
        for (uint32_t node = 0; node < node_count; node++) {
            digest = digest_u32(digest, answers[i].distance[node]);
            digest = digest_u32(digest, answers[i].previous[node]);
        }
    }
    return digest;
}

/* UINT32_MAX if the path does not lead back to the source. */
static uint32_t path_length(const struct paths *paths, uint32_t source, uint32_t node)
{
    uint32_t sum = 0;
    for (uint32_t steps = 0; node != source; steps++) {
        if (steps == node_count)
            return UINT32_MAX;
        sum += length[paths->previous[node]][node];
        node = paths->previous[node];
    }
    return sum;
}

static void check_paths(const struct paths *paths, uint32_t source)
{
    for (uint32_t node = 0; node < node_count; node++) {
        if (path_length(paths, source, node) != paths->distance[node])
            workload_wrong("the path from node %lu to %lu is not as long as its distance.",
                           (unsigned long)source, (unsigned long)node);
        for (uint32_t next = 0; next < node_count; next++)
            if (paths->distance[next] > paths->distance[node] + length[node][next])
                workload_wrong("from node %lu to %lu it is shorter by way of %lu.",
                               (unsigned long)source, (unsigned long)next, (unsigned long)node);
    }
}

static void check(void)
{
    for (uint32_t i = 0; i < source_count; i++)
        check_paths(&answers[i], source_of(i));
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "dijkstra",
        .summary = "Finds the shortest paths from some nodes of a dense graph to all others. Checks that no edge is a\n"
                   "shortcut and that the edges of each path add up to its distance.",
        .inputs = {"100 nodes, paths from 30 of them", "400 nodes, paths from 60 of them"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0x1b788e0d6187b989), UINT64_C(0xf042b8d6c27edd19)},
    };
    return workload_main(&workload, argc, argv);
}
