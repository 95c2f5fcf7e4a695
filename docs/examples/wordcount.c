// SPDX-License-Identifier: Apache-2.0
//
// The program that README.md records: it counts a text's words and prints the five most frequent.

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 1 << 16 };

typedef struct entry {
  char *word;
  int count;
} entry;

static entry table[ENTRIES];

static unsigned hash(const char *word) {
  unsigned hash = 5381;
  while (*word) hash = hash * 33 + (unsigned char)*word++;
  return hash;
}

static entry *lookup(const char *word) {
  unsigned i = hash(word) % ENTRIES;
  while (table[i].word && strcmp(table[i].word, word)) i = (i + 1) % ENTRIES;
  return &table[i];
}

static void count(const char *word) {
  entry *found = lookup(word);
  if (!found->word) found->word = strdup(word);
  found->count++;
}

static int next_word(FILE *file, char *word, size_t size) {
  size_t length = 0;
  int letter;
  while ((letter = getc(file)) != EOF && !isalpha(letter)) {}
  for (; letter != EOF && isalpha(letter) && length + 1 < size; letter = getc(file))
    word[length++] = (char)tolower(letter);
  word[length] = 0;
  return length > 0;
}

static int by_count(const void *a, const void *b) {
  return ((const entry *)b)->count - ((const entry *)a)->count;
}

static void print_top(int wanted) {
  qsort(table, ENTRIES, sizeof *table, by_count);
  for (int i = 0; i < wanted && table[i].word; i++)
    printf("%6d %s\n", table[i].count, table[i].word);
}

int main(int count_of_words, char **words) {
  char word[64];
  FILE *file = count_of_words > 1 ? fopen(words[1], "r") : stdin;
  if (!file) return perror(words[1]), 1;
  while (next_word(file, word, sizeof word)) count(word);
  print_top(5);
  return 0;
}
