"""Control of a running app: one Unix socket, typed messages, a closed set of commands.

Start reading at `messages`; root's end is `server`, everybody else's is `client`.
"""
