"""Two children of one name."""

from supervisor import Child, Supervisor

tree = Supervisor("shop", [
    Child("web", "marks:quiet"),
    Child("web", "marks:quiet"),
])  # fmt: skip
