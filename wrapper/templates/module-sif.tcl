setenv SIF $place
setenv $variable $place
setenv CONTAINERROOT $root
setenv RUNSCRIPTS [expr {[file isdirectory $root/runscripts] ? "$root/runscripts" : "/runscripts"}]
# A bind whose source is missing would be fatal.
foreach bind $binds {
    if {[module-info mode unload] || [file exists [lindex [split $bind :] 0]]} {
        append-path -d , SINGULARITY_BIND $bind
    }
}
