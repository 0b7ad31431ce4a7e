"""The backbones, one file each: a file in this folder that defines a subclass of `Backbone`
is one."""
