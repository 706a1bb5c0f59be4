#!/bin/sh
# A program of a Debian package with its own libraries and loader, which are unpacked when it is first used.
home=/usr/local/lib/rtvirt-workloads/@PROGRAM@
if [ ! -x "$home/loader" ]; then
  mkdir -p "$home.partial.$$" && tar -xzf "$home.tar.gz" -C "$home.partial.$$" && mv "$home.partial.$$/@PROGRAM@" "$home"
  rm -rf "$home.partial.$$"
fi
exec "$home/loader" --library-path "$home/lib" "$home/program" "$@"
